"""Who does what to whom, what comes before what, and in which order steps stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from exllama_guard.grounding.facts.aligning import Evidence, fit
from exllama_guard.grounding.facts.parsing import Parsed
from exllama_guard.grounding.facts.tokens import Token
from exllama_guard.grounding.facts.values import Fact, FactKind, Place, Status

_EARLIER = frozenset(["before", "vor", "bevor", "avant", "antes", "prima"])
_LATER = frozenset(["after", "nach", "nachdem", "après", "después", "dopo", "depois"])
_COMPARING = frozenset(["than", "als", "que", "di", "dan", "niż", "чем"])
_ARTICLES = frozenset(
    [
        *("the", "a", "an", "der", "die", "das", "den", "dem", "le", "la", "les", "l"),
        *("el", "los", "las", "il", "lo", "i", "gli", "o", "os", "as", "de", "het"),
    ]
)
_STEP = re.compile(r"^[ \t]*\(?(\d{1,2})[.)][ \t]+(.{3,400})$", re.MULTILINE)


def role_facts(statement: Parsed, evidence: Evidence, near: Sequence[int]) -> Iterator[Fact]:
    """A conflict where the statement lets two things change places around the same word."""
    for index in near:
        unit = evidence.parsed[index]
        close = fit(statement.content, unit, frozenset(), statement.language)
        if unit.language != statement.language or not close.at_least(0.6, 3):
            continue
        if _same_order(statement, unit):
            return
    for index in near:
        found = _role_fact(statement, evidence, index)
        if found is not None:
            yield found
            return


def _role_fact(statement: Parsed, evidence: Evidence, index: int) -> Fact | None:
    unit = evidence.parsed[index]
    close = fit(statement.content, unit, frozenset(), statement.language)
    swapped = _swapped(statement, unit) if close.at_least(0.6, 3) else None
    if swapped is None or unit.language != statement.language:
        return None
    first, last, middle = swapped
    against = f"have changed places around “{middle.text}” against {evidence.name(index)}"
    reason = f"“{first.text}” and “{last.text}” {against}."
    said = statement.text[first.start : last.end]
    place = (Place(index, 0, len(unit.text)),)
    return Fact(FactKind.ROLE, Status.CONFLICT, said, first.start, last.end, place, reason, 0.8)


_Triple = tuple[Token, Token, Token]


def _same_order(statement: Parsed, unit: Parsed) -> bool:
    """Whether a unit has the statement's shared words in the same order: nothing changed places."""
    mine = [token.stem for token in statement.content if token.stem in unit.stems]
    theirs = [token.stem for token in unit.content if token.stem in statement.stems]
    return mine == theirs


def _swapped(statement: Parsed, unit: Parsed) -> _Triple | None:
    """(first, last, middle) of the statement where the unit has last, middle, first; None where not plain."""
    mine = _once([token for token in statement.content if token.stem in unit.stems and not token.number])
    theirs = {token.stem: token for token in _once(list(unit.content))}
    for at in range(1, len(mine) - 1):
        first, middle, last = mine[at - 1 : at + 2]
        there = [theirs.get(one.stem) for one in (first, middle, last)]
        a, b, c = there
        if a is None or b is None or c is None or not c.start < b.start < a.start:
            continue
        link, other = _link(statement, middle, last), _link(unit, b, a)
        named = first.text[0].isupper() and last.text[0].isupper() and statement.language != "de"
        plain = middle.text[0].islower() and link == other and (named or not _COMPARING.isdisjoint(link))
        if plain and abs(a.clause - c.clause) <= 1 and first.clause == last.clause:
            return first, last, middle
    return None


def _link(text: Parsed, start: Token, end: Token) -> frozenset[str]:
    """The function words between two words, without articles: they say which part each plays."""
    between = [token for token in text.tokens if start.end <= token.start < end.start]
    return frozenset(token.norm for token in between if not token.content and token.norm not in _ARTICLES)


def _once(tokens: list[Token]) -> list[Token]:
    """The words that a text holds once: of others it is not plain which is meant."""
    stems = [token.stem for token in tokens]
    return [token for token in tokens if stems.count(token.stem) == 1]


def order_facts(statement: Parsed, evidence: Evidence, near: Sequence[int], before: str) -> Iterator[Fact]:
    """A conflict where what comes first in the answer comes last in the evidence."""
    found = _turned_time(statement, evidence, near) or _turned_step(statement, evidence, before)
    if found is not None:
        yield found


def _turned_time(statement: Parsed, evidence: Evidence, near: Sequence[int]) -> Fact | None:
    mine = _before_after(statement)
    if mine is None:
        return None
    found: tuple[int, Token] | None = None
    for index in near:
        unit = evidence.parsed[index]
        theirs = _before_after(unit) if unit.language == statement.language else None
        if theirs is None:
            continue
        straight = min(_overlap(mine[0], theirs[0]), _overlap(mine[1], theirs[1]))
        crossed = min(_overlap(mine[0], theirs[1]), _overlap(mine[1], theirs[0]))
        if straight >= 0.5:
            return None
        if crossed >= 0.6 and straight == 0 and found is None:
            found = index, theirs[2]
    if found is None:
        return None
    token = mine[2]
    reason = f"The answer and {evidence.name(found[0])} put these two in opposite order."
    place = evidence.place(*found)
    return Fact(FactKind.ORDER, Status.CONFLICT, token.text, token.start, token.end, place, reason, 0.8)


_Sides = tuple[frozenset[str], frozenset[str], Token]


def _before_after(text: Parsed) -> _Sides | None:
    """What comes first and what comes last around the one "before" or "after" of a sentence."""
    words = [token for token in text.tokens if token.norm in _EARLIER | _LATER]
    if len(words) != 1:
        return None
    word = words[0]
    left = frozenset(token.stem for token in text.content if token.end <= word.start)
    right = frozenset(token.stem for token in text.content if token.start >= word.end)
    if not left or not right:
        return None
    return (left, right, word) if word.norm in _EARLIER else (right, left, word)


def _overlap(mine: frozenset[str], theirs: frozenset[str]) -> float:
    return len(mine & theirs) / min(len(mine), len(theirs))


def _turned_step(statement: Parsed, evidence: Evidence, before: str) -> Fact | None:
    """A step of a numbered list that the evidence has before the step that stands above it in the answer."""
    from exllama_guard.grounding.facts.parsing import parsed

    steps = list(_STEP.finditer(before[-1500:]))
    if not steps or not re.search(r"\n[ \t]*\(?\d{1,2}[.)][ \t]+\Z", before[-12:]):
        return None
    above = parsed(steps[-1][2], statement.language)
    first, last = _place_of(above, evidence), _place_of(statement, evidence)
    if first is None or last is None or first == last:
        return None
    same = evidence.units[first].snippet_id == evidence.units[last].snippet_id
    if same and last == first - 1 and evidence.units[first].context == evidence.units[last].context:
        reason = f"In {evidence.name(last)} this step comes before “{_short(steps[-1][2])}”, not after it."
        place = (Place(last, 0, len(evidence.units[last].text)),)
        end = len(statement.text)
        return Fact(FactKind.ORDER, Status.CONFLICT, statement.text, 0, end, place, reason, 0.8)
    return None


def _place_of(text: Parsed, evidence: Evidence) -> int | None:
    """The one unit that says what a step says; None where none or more than one does."""
    fits = [
        index
        for index, unit in enumerate(evidence.parsed)
        if len(text.stems & unit.stems) >= 2
        and len(text.stems & unit.stems) >= 0.6 * min(len(text.stems), len(unit.stems))
    ]
    return fits[0] if len(fits) == 1 else None


def _short(text: str) -> str:
    return text if len(text) <= 50 else text[:49].rstrip() + "…"
