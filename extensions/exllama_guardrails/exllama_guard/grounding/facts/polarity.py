"""What a negation or an opposite turns round: the same words with the other sign contradict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exllama_guard.grounding.facts import word_cues as cues
from exllama_guard.grounding.facts.aligning import Evidence, Fit, around, fit
from exllama_guard.grounding.facts.parsing import Parsed
from exllama_guard.grounding.facts.tokens import Token
from exllama_guard.grounding.facts.values import Fact, FactKind, Status

_SHARE = 0.55  # share of the words around that a unit must hold before a difference contradicts
_SHARE_OF_LINKS = 0.7  # for a word like "before", which stands in every second sentence
_COUNT = 3
_BACK = 0.4  # share of the unit's own words there that the statement must hold
_SHORT = 4  # content words of a unit that says one thing only
_BY_SIGNS = ("zh", "ja", "ko")  # read by pairs of signs, of which a changed word changes three
_SHARE_OF_SIGNS, _BACK_OF_SIGNS = 0.35, 0.25
_ENOUGH = 0.34  # share from which a unit that says the same takes the contradiction away


def polarity_facts(statement: Parsed, evidence: Evidence, near: Sequence[int]) -> Iterator[Fact]:
    """One conflict for each word of the statement that the evidence turns the other way."""
    for token in statement.tokens:
        if not (token.content or token.pairs) or token.number:
            continue
        found = _turned(token, statement, evidence, near)
        if found is not None:
            yield found


def _turned(token: Token, statement: Parsed, evidence: Evidence, near: Sequence[int]) -> Fact | None:
    others = around(statement, token)
    if not others or _conditional(statement, token):
        return None
    keys = (token.stem, *(f"#{pair}" for pair, _ in token.pairs))
    best: tuple[Fit, int, Token] | None = None
    for index in near:
        unit = evidence.parsed[index]
        if unit.language != statement.language:
            continue
        rivals = [other for key in keys for other in unit.by_key.get(key, ())]
        if not rivals:
            continue
        close = fit(others, unit, evidence.above[index], statement.language)
        for other in rivals:
            verdict = _compare(token, other, statement, unit)
            if verdict > 0 and close.share >= _ENOUGH and close.count:
                return None
            if (
                verdict < 0
                and (best is None or close.share > best[0].share)
                and _same_matter(others, other, statement, unit)
            ):
                best = (close, index, other)
    if best is None or not _enough(best[0], best[1], token, others, statement, evidence):
        return None
    return _fact(token, best[2], best[1], evidence, best[0])


def _enough(
    close: Fit, index: int, token: Token, others: Sequence[Token], statement: Parsed, evidence: Evidence
) -> bool:
    """Whether a unit speaks enough of the same for its difference to contradict."""
    if len(others) == 1:
        return close.share == 1.0 and close.count == 1 and len(evidence.parsed[index].content) <= _SHORT
    if statement.language in _BY_SIGNS:
        return close.at_least(_SHARE_OF_SIGNS, 2)
    return close.at_least(_SHARE if token.content else _SHARE_OF_LINKS, min(_COUNT, len(others)))


def _conditional(text: Parsed, token: Token) -> bool:
    """Whether a word stands in a condition, which states nothing."""
    first = next((one for one in text.tokens if one.clause == token.clause), token)
    return first.norm in cues.words("condition")


def _same_matter(others: Sequence[Token], other: Token, statement: Parsed, unit: Parsed) -> bool:
    """Whether the unit's words beside one word are mostly the statement's, its numbers among them."""
    beside = [one for one in unit.content if abs(one.clause - other.clause) <= 1 and one.stem != other.stem]
    own = [one for one in beside if one.clause == other.clause] or beside
    shared = sum(one.stem in statement.stems for one in own)
    numbers = [one for one in others if one.number]
    back = _BACK_OF_SIGNS if unit.language in _BY_SIGNS else _BACK
    return shared >= 1 and shared >= back * len(own) and all(one.stem in unit.stems for one in numbers)


def _compare(token: Token, other: Token, statement: Parsed, unit: Parsed) -> int:
    """1 where a word of the evidence says the same with the same sign, -1 with the other, 0 where neither."""
    if not token.sign or not other.sign:
        return 0
    if token.stem == other.stem and token.content:
        if token.sign == other.sign:
            return 1
        return 0 if (unit.denies(other) if token.sign < 0 else statement.denies(token)) else -1
    mine, theirs = dict(token.pairs), dict(other.pairs)
    common = mine.keys() & theirs.keys()
    if not common:
        return 0
    signs = {mine[pair] * token.sign * theirs[pair] * other.sign for pair in common}
    if 1 in signs:
        return 1
    if token.sign != other.sign or not _only(token, other, statement, unit):
        return 0
    return -1 if _slot(token, other, statement, unit) else 0


def _only(token: Token, other: Token, statement: Parsed, unit: Parsed) -> bool:
    """Whether each text holds only its own of two opposites; both in one text name a range or a list."""
    return all(one.stem != token.stem for one in unit.tokens) and all(
        one.stem != other.stem for one in statement.tokens
    )


def _slot(token: Token, other: Token, statement: Parsed, unit: Parsed) -> bool:
    """Whether two opposites stand beside the same word: that before them or that behind them."""
    behind = _next(token, statement, 1), _next(other, unit, 1)
    if behind[0] is not None and behind[1] is not None and behind[0].stem == behind[1].stem:
        return not behind[0].number
    if not token.content or not other.content:
        return False
    before = _next(token, statement, -1), _next(other, unit, -1)
    return before[0] is not None and before[1] is not None and before[0].stem == before[1].stem


def _next(token: Token, text: Parsed, step: int) -> Token | None:
    """The next content word on one side of a word, in its clause."""
    row = [one for one in text.content if one.clause == token.clause or one is token]
    if step > 0:
        return next((one for one in row if one.start >= token.end), None)
    return next((one for one in reversed(row) if one.end <= token.start), None)


def _fact(token: Token, other: Token, index: int, evidence: Evidence, close: Fit) -> Fact:
    snippet = evidence.name(index)
    if token.stem == other.stem:
        kind = FactKind.POLARITY
        reason = (
            f"The answer negates “{token.text}”; {snippet} does not."
            if token.sign < 0
            else f"{snippet} negates “{other.text}”; the answer does not."
        )
    else:
        kind = FactKind.OPPOSITE
        reason = f"The answer says “{token.text}”; {snippet} says “{other.text}”."
    places = evidence.place(index, other)
    return Fact(
        kind, Status.CONFLICT, token.text, token.start, token.end, places, reason, min(1.0, close.share)
    )
