"""Deterministic checks of one claim: each finding names both texts and the reason in one plain sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exllama_guard.core.snippets import Span
from exllama_guard.core.turns import Finding, FindingKind, Severity
from exllama_guard.grounding.support.alignment import stands_beside
from exllama_guard.grounding.support.dates import Date, dates_of
from exllama_guard.grounding.support.evidence import Library
from exllama_guard.grounding.support.features import NEGATIONS, Measured
from exllama_guard.grounding.support.lexicon import Relation
from exllama_guard.grounding.support.quantities import Quantity, quantities_of
from exllama_guard.grounding.support.text import Word

_SURE_OVERLAP = 0.6  # share of the claim's words that its window must hold before a difference is a conflict
_SAME_MATTER = 0.4  # share from which a window speaks of what the claim speaks of
_NEAR = 4  # words around a place that count as its surroundings


def findings_of(
    measured: Measured, library: Library, start: int, language: str = "en"
) -> tuple[Finding, ...]:
    """Findings on one claim, conflicts first; `start` is the claim's place in the answer."""
    found = [
        *_numbers(measured, library, start, language),
        *_dates(measured, library, start),
        *_names(measured, library, start),
        *_opposites(measured, library, start),
        *_negation(measured, library, start),
    ]
    order = (Severity.CONFLICT, Severity.GAP, Severity.NOTE)
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def _sentences(measured: Measured) -> list[int]:
    window = range(measured.found.window.first, measured.found.window.last + 1)
    return list(dict.fromkeys([*window, *measured.found.top]))


def _window(measured: Measured) -> range:
    return range(measured.found.window.first, measured.found.window.last + 1)


def _at(library: Library, sentence: int, start: int, end: int) -> tuple[str, Span]:
    """The snippet's id and the place in its text of characters of one sentence."""
    first = library.sentences[sentence].span.start
    return library.snippets[library.owner[sentence]].snippet_id, Span(first + start, first + end)


def _numbers(measured: Measured, library: Library, start: int, language: str) -> Iterator[Finding]:
    held = library.quantities(language)
    stated = quantities_of(measured.text, language)
    near = [(i, q) for i in _window(measured) for q in quantities_of(library.sentences[i].text, language)]
    for quantity in stated:
        if any(quantity.agrees(other) for other in held):
            continue
        span = Span(start + quantity.start, start + quantity.end)
        rival = _rival(quantity, stated, near) if measured.found.window.overlap >= _SAME_MATTER else None
        if rival is None:
            kind = "time" if quantity.unit == "clock" else "number"
            message = f"The answer says {quantity.text}; no snippet holds this {kind}."
            yield Finding(FindingKind.NUMBER, Severity.GAP, message, span)
            continue
        sentence, other = rival
        snippet_id, place = _at(library, sentence, other.start, other.end)
        message = f"The answer says {_with_noun(quantity)}; snippet {snippet_id} says {_with_noun(other)}."
        yield Finding(FindingKind.NUMBER, Severity.CONFLICT, message, span, snippet_id, place)


def _with_noun(quantity: Quantity) -> str:
    joined = quantity.noun and quantity.unit not in ("%", "year", "ordinal")
    return f"{quantity.text} {quantity.noun}" if joined and len(quantity.noun) > 3 else quantity.text


def _rival(
    quantity: Quantity, stated: Sequence[Quantity], near: Sequence[tuple[int, Quantity]]
) -> tuple[int, Quantity] | None:
    """The one number of the evidence that stands where the claim's stands; None where that is not plain."""
    free = [
        (i, other)
        for i, other in near
        if other.unit == quantity.unit and not any(other.agrees(mine) for mine in stated)
    ]
    same = [pair for pair in free if pair[1].noun and _alike(pair[1].noun, quantity.noun)]
    if same:
        return same[0]
    kinds = [pair for pair in free if quantity.unit or not pair[1].noun or not quantity.noun]
    return kinds[0] if len({other.value for _, other in kinds}) == 1 else None


def _alike(first: str, second: str) -> bool:
    return first == second or first.rstrip("s") == second.rstrip("s")


def _dates(measured: Measured, library: Library, start: int) -> Iterator[Finding]:
    everywhere = library.dates()
    near = [(i, d) for i in _window(measured) for d in dates_of(library.sentences[i].text)]
    years = {q.value for i in _sentences(measured) for q in quantities_of(library.sentences[i].text)}
    for date in dates_of(measured.text):
        if any(date.within(other) for other in everywhere):
            continue
        span = Span(start + date.start, start + date.end)
        rivals = [(i, d) for i, d in near if d.conflicts(date)]
        plain = len({(d.year, d.month, d.day) for _, d in rivals}) == 1 and not _partly_known(date, years)
        if plain and measured.found.window.overlap >= _SURE_OVERLAP:
            sentence, other = rivals[0]
            snippet_id, place = _at(library, sentence, other.start, other.end)
            message = f"The answer says {date.text}; snippet {snippet_id} says {other.text}."
            yield Finding(FindingKind.DATE, Severity.CONFLICT, message, span, snippet_id, place)
        else:
            message = f"The answer says {date.text}; no snippet holds this date."
            yield Finding(FindingKind.DATE, Severity.GAP, message, span)


def _partly_known(date: Date, years: set[float]) -> bool:
    return date.year is not None and date.day is None and float(date.year) in years


def _names(measured: Measured, library: Library, start: int) -> Iterator[Finding]:
    run: list[Word] = []
    for index, word in enumerate(measured.words):
        unknown = word.is_name and not library.holds(word.stem) and not library.holds_like(word.norm)
        if unknown and (not run or word.start - run[-1].end <= 1):
            run = run or _before(measured.words, index, library)
            run.append(word)
            continue
        if run:
            yield _missing_name(run, measured.text, start)
        run = [word] if unknown else []
    if run:
        yield _missing_name(run, measured.text, start)


def _before(words: Sequence[Word], index: int, library: Library) -> list[Word]:
    """The first half of a name that opens a sentence, where its capital says nothing by itself."""
    if index != 1:
        return []
    first = words[0]
    joined = first.is_content and first.text[0].isupper() and words[1].start - first.end == 1
    return [first] if joined and not library.holds(first.stem) else []


def _missing_name(run: Sequence[Word], text: str, start: int) -> Finding:
    name = text[run[0].start : run[-1].end]
    span = Span(start + run[0].start, start + run[-1].end)
    return Finding(FindingKind.NAME, Severity.GAP, f"The answer names “{name}”; no snippet does.", span)


def _opposites(measured: Measured, library: Library, start: int) -> Iterator[Finding]:
    stems = {match.word.stem for match in measured.matches}
    for match in measured.matches:
        if match.relation is not Relation.OPPOSITE or match.related is None or match.anywhere:
            continue
        other = library.sentences[match.related.sentence].words[match.related.word]
        if other.stem in stems or not stands_beside(match, measured.matches, library):
            continue
        if _negated(measured.words, match.word) != _negated(
            library.sentences[match.related.sentence].words, other
        ):
            continue  # "not high" and "low" say the same
        snippet_id, place = _at(library, match.related.sentence, other.start, other.end)
        span = Span(start + match.word.start, start + match.word.end)
        message = f"The answer says “{match.word.text}”; snippet {snippet_id} says “{other.text}”."
        yield Finding(FindingKind.COMPARISON, Severity.CONFLICT, message, span, snippet_id, place)


def _negated(words: Sequence[Word], target: Word) -> bool:
    at = next((i for i, word in enumerate(words) if word.start == target.start), 0)
    return any(word.norm in NEGATIONS for word in words[max(0, at - _NEAR) : at])


def _negation(measured: Measured, library: Library, start: int) -> Iterator[Finding]:
    """A claim that negates what its one sentence of evidence says; the other way round it is only a note."""
    found = measured.found
    if found.window.overlap < _SURE_OVERLAP or any(m.missing for m in measured.matches):
        return
    stems = {match.word.stem for match in measured.matches}
    sentence = max(_window(measured), key=lambda index: len(library.stems[index] & stems))
    evidence = library.sentences[sentence]
    mine = _negations(measured.words, measured.text)
    theirs = _negations(evidence.words, evidence.text)
    content = sum(word.is_content for word in evidence.words)
    if bool(mine) == bool(theirs) or content > 3 * len(measured.matches):
        return
    if mine:
        snippet_id, place = _at(library, sentence, 0, len(evidence.text))
        span = Span(start + mine[0].start, start + mine[0].end)
        message = f"The answer says “{mine[0].text}” where snippet {snippet_id} does not negate."
        yield Finding(FindingKind.NEGATION, Severity.CONFLICT, message, span, snippet_id, place)
        return
    snippet_id, place = _at(library, sentence, theirs[0].start, theirs[0].end)
    span = Span(start, start + len(measured.text))
    message = f"Snippet {snippet_id} says “{theirs[0].text}”; the answer leaves it out."
    yield Finding(FindingKind.NEGATION, Severity.NOTE, message, span, snippet_id, place)


def _negations(words: Sequence[Word], text: str) -> list[Word]:
    """Words that negate; not the first half of "no-cost"."""
    return [word for word in words if word.norm in NEGATIONS and text[word.end : word.end + 1] != "-"]
