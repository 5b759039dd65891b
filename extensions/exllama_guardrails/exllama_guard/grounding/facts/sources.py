"""Who says so, what is quoted, and what is cited."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from exllama_guard.grounding.facts import word_cues as cues
from exllama_guard.grounding.facts.aligning import Evidence, fit
from exllama_guard.grounding.facts.naming import names_of
from exllama_guard.grounding.facts.parsing import Parsed
from exllama_guard.grounding.facts.tokens import Token
from exllama_guard.grounding.facts.values import Fact, FactKind, Place, Status
from exllama_guard.grounding.phrases import Phrase, pattern

_QUOTE = re.compile(r"[\"“„«]([^\"“”„«»\n]{2,600})[\"”“»]|「([^「」\n]{2,300})」")
_ELLIPSIS = re.compile(r"\.\.\.|…|\[[^\]]{0,20}\]")
_SAME_TEXT = 92.0  # rapidfuzz partial ratio from which a quotation is the evidence's own wording
_NEAR_TEXT = 65.0  # from which it is that wording with something changed
_LEAST_WORDS = 3  # a shorter one in quotation marks is as often a label
_PLACED = re.compile(r"\b(?:in|of|at|from) \Z")
_CARRIED = 0.6


def quote_facts(statement: str, evidence: Evidence) -> Iterator[Fact]:
    """One fact for each quotation that the evidence does not hold word for word."""
    for match in _QUOTE.finditer(statement):
        group = 1 if match[1] else 2
        quoted = match[group]
        parts = [part for part in _ELLIPSIS.split(quoted) if _plain(part)]
        words = sum(len(_plain(part).split()) for part in parts)
        if words < _LEAST_WORDS and not (words and _introduced(statement, match.start())):
            continue
        missing = [part for part in parts if not _holds(part, evidence)]
        if missing:
            yield _quote_fact(missing[0], quoted, match.start(group), match.end(group), evidence)


def _introduced(statement: str, at: int) -> bool:
    """Whether a verb of saying stands right before a short quotation: it is somebody's word."""
    before = re.findall(r"\w+", statement[max(0, at - 40) : at].casefold())[-6:]
    return any(
        word in cues.words("saying") or word in ("called", "described", "quote", "words") for word in before
    )


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _texts(evidence: Evidence) -> dict[str, str]:
    out: dict[str, list[str]] = {}
    for unit in evidence.units:
        out.setdefault(unit.snippet_id, []).append(unit.text)
    return {name: _plain(" ".join(texts)) for name, texts in out.items()}


def _holds(part: str, evidence: Evidence) -> bool:
    from rapidfuzz import fuzz

    wanted = _plain(part)
    if wanted in _plain(evidence.text):
        return True
    if len(wanted) < 24:
        return False
    texts = _texts(evidence).values()
    return any(
        fuzz.partial_ratio(wanted, text, score_cutoff=_SAME_TEXT) and _same_words(wanted, text)
        for text in texts
    )


def _same_words(wanted: str, text: str) -> bool:
    """Whether no word of a quotation was changed for another: at most one in eight is not in the text."""
    words = wanted.split()
    held = set(text.split())
    return sum(word not in held for word in words) * 8 <= len(words)


def _quote_fact(part: str, quoted: str, start: int, end: int, evidence: Evidence) -> Fact:
    from rapidfuzz import fuzz

    wanted = _plain(part)
    near = max(
        ((fuzz.partial_ratio(wanted, _plain(unit.text)), index) for index, unit in enumerate(evidence.units)),
        default=(0.0, 0),
    )
    shown = quoted if len(quoted) <= 60 else quoted[:59].rstrip() + "…"
    reason = f"The answer quotes “{shown}”; no snippet says this word for word."
    if near[0] >= _NEAR_TEXT and len(wanted) > 12 and len(evidence.units[near[1]].text) >= len(wanted):
        place = (Place(near[1], 0, len(evidence.units[near[1]].text)),)
        return Fact(FactKind.QUOTE, Status.CONFLICT, quoted, start, end, place, reason, 0.8)
    return Fact(FactKind.QUOTE, Status.ABSENT, quoted, start, end, (), reason, 0.8)


def citation_facts(statement: str, parsed: Parsed, evidence: Evidence, near: Sequence[int]) -> Iterator[Fact]:
    """One fact for each citation of a passage that is not there or that another one carries."""
    names = tuple(dict.fromkeys(unit.snippet_id for unit in evidence.units))
    cited: dict[str, re.Match[str]] = {}
    for match in pattern(Phrase.CITED).finditer(statement):
        number = int(match[1] or match[2] or match[3])
        if match.group().casefold() in evidence.text:
            continue
        if not 1 <= number <= len(names):
            held = "there is only one snippet" if len(names) == 1 else f"there are only {len(names)} snippets"
            reason = f"The answer cites {match.group()}; {held}."
            yield Fact(
                FactKind.ATTRIBUTION, Status.ABSENT, match.group(), match.start(), match.end(), (), reason
            )
        else:
            cited[names[number - 1]] = match
    if cited and len(names) > 1:
        yield from _elsewhere(parsed, cited, evidence, near)


def _elsewhere(
    statement: Parsed, cited: dict[str, re.Match[str]], evidence: Evidence, near: Sequence[int]
) -> Iterator[Fact]:
    """A conflict where another snippet alone carries the words."""
    marks = [match.span() for match in cited.values()]
    own = [token for token in statement.content if not any(low <= token.start < high for low, high in marks)]
    shares: dict[str, tuple[float, int]] = {}
    for index in near:
        close = fit(own, evidence.parsed[index], evidence.above[index], statement.language)
        name = evidence.units[index].snippet_id
        shares[name] = max(shares.get(name, (0.0, index)), (close.share, index))
    best = max(shares, key=lambda name: shares[name][0], default="")
    of_cited = max((shares.get(name, (0.0, 0))[0] for name in cited), default=0.0)
    if best and best not in cited and shares[best][0] >= _CARRIED and of_cited < 0.5 * shares[best][0]:
        match = next(iter(cited.values()))
        reason = f"The answer cites {match.group()}; the words stand in {best}."
        index = shares[best][1]
        place = (Place(index, 0, len(evidence.units[index].text)),)
        yield Fact(
            FactKind.ATTRIBUTION,
            Status.CONFLICT,
            match.group(),
            match.start(),
            match.end(),
            place,
            reason,
            0.9,
        )


def attribution_facts(
    statement: Parsed, evidence: Evidence, near: Sequence[int], before: str
) -> Iterator[Fact]:
    """What the evidence lays in another's mouth, or says only as somebody's claim."""
    speaker = _speaker(statement)
    if speaker is not None:
        yield from _other_speaker(statement, speaker, evidence, near)
    elif not _hedged(statement.text) and not _hedged(before[-300:]):
        yield from _bare_claim(statement, evidence, near)


def _hedged(text: str) -> bool:
    return any(word in cues.words("hedge") for word in re.findall(r"[^\W\d_]+", text.casefold()))


_Span = tuple[int, int]


def _speaker(text: Parsed) -> _Span | None:
    """Where the name of who says a sentence stands; None where nobody is named."""
    names = names_of(text)
    match = pattern(Phrase.ACCORDING).search(text.text)
    if match:
        named = [one for one in names if match.end() <= one.start <= match.end() + 40]
        return (named[0].start, named[0].end) if named else None
    for token in text.tokens:
        if token.norm not in cues.words("saying"):
            continue
        named = [
            one for one in names if 0 <= token.start - one.end <= 30 and _between(text, one.end, token.start)
        ]
        if named:
            return named[-1].start, named[-1].end
    return None


def _between(text: Parsed, start: int, end: int) -> bool:
    """Whether nothing but an apposition stands between a name and its verb of saying."""
    inner = text.text[start:end]
    return inner.strip(" ") in ("", "has", "had", ")", "also") or (
        inner.lstrip()[:1] in ",(" and inner.rstrip()[-1:] in ",)"
    )


def _other_speaker(
    statement: Parsed, speaker: _Span, evidence: Evidence, near: Sequence[int]
) -> Iterator[Fact]:
    said = statement.text[speaker[0] : speaker[1]]
    own = set(re.findall(r"\w+", said.casefold()))
    rest = [
        token for token in statement.content if not speaker[0] <= token.start < speaker[1] and _tells(token)
    ]
    found: tuple[float, int, str, _Span] | None = None
    for index in near:
        unit = evidence.parsed[index]
        close = fit(rest, unit, frozenset(), statement.language)
        if unit.language != statement.language or close.share < 0.3:
            continue
        span = _speaker(unit)
        if span is None:
            continue
        other = unit.text[span[0] : span[1]]
        beside = " ".join(one.text for one in evidence.units[max(0, index - 1) : index + 2])
        if own & set(re.findall(r"\w+", beside.casefold())):
            return
        if close.at_least(0.5, 2) and (found is None or close.share > found[0]):
            found = (close.share, index, other, span)
    if found is not None:
        reason = f"The answer lets “{said}” say this; in {evidence.name(found[1])} it is “{found[2]}”."
        place = (Place(found[1], *found[3]),)
        yield Fact(FactKind.ATTRIBUTION, Status.CONFLICT, said, *speaker, place, reason, 0.8)


def _tells(token: Token) -> bool:
    return token.norm not in cues.words("saying") and token.norm not in ("according", "view", "opinion")


def _bare_claim(statement: Parsed, evidence: Evidence, near: Sequence[int]) -> Iterator[Fact]:
    """A conflict where the one unit that says the same says it as a claim of somebody."""
    own = statement.content
    if len(own) < 3:
        return
    found: tuple[int, Token] | None = None
    for index in near:
        unit = evidence.parsed[index]
        if unit.language != statement.language:
            continue
        close = fit(own, unit, frozenset(), statement.language)
        verb = next((token for token in unit.tokens if token.norm in cues.words("contested")), None)
        if verb is None or verb.stem in statement.stems:
            if close.at_least(0.4, 2):
                return
        elif close.at_least(0.75, 3) and found is None and _frames(verb, statement, unit):
            found = (index, verb)
    if found is not None:
        index, verb = found
        reason = (
            f"The answer states this as a fact; {evidence.name(index)} says it as a claim (“{verb.text}”)."
        )
        place = evidence.place(index, verb)
        yield Fact(
            FactKind.ATTRIBUTION, Status.CONFLICT, statement.text, 0, len(statement.text), place, reason, 0.7
        )


def _frames(verb: Token, statement: Parsed, unit: Parsed) -> bool:
    """Whether a verb of claiming stands before nearly all that the statement and the unit share."""
    shared = [token for token in unit.content if token.stem in statement.stems]
    return sum(token.start > verb.start for token in shared) >= 0.7 * len(shared)
