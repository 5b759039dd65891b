"""A word of the statement in the place of another: the words around are the evidence's, that one is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exllama_guard.grounding.facts import word_cues as cues
from exllama_guard.grounding.facts.aligning import Evidence, around, fit
from exllama_guard.grounding.facts.parsing import Parsed
from exllama_guard.grounding.facts.tokens import Token
from exllama_guard.grounding.facts.values import Fact, FactKind, Status
from exllama_guard.grounding.lexicon import Relation, relation

_SHARE, _COUNT = 0.6, 2
_ELSEWHERE = 0.3


def slot_facts(statement: Parsed, evidence: Evidence, near: Sequence[int]) -> Iterator[Fact]:
    """One conflict for each word that the evidence has another for, between the same two words."""
    for token in statement.content:
        if token.number or token.pairs or token.stem in evidence.stems or _is_cue(token):
            continue
        found = _rival(token, statement, evidence, near)
        if found is None:
            continue
        index, other = found
        reason = f"The answer says “{token.text}” where {evidence.name(index)} says “{other.text}”."
        places = evidence.place(index, other)
        yield Fact(
            FactKind.OPPOSITE, Status.CONFLICT, token.text, token.start, token.end, places, reason, 0.6
        )


def _is_cue(token: Token) -> bool:
    return any(
        token.norm in cues.words(section) for section in ("saying", "deny", "all", "some", "planned", "done")
    )


def _rival(
    token: Token, statement: Parsed, evidence: Evidence, near: Sequence[int]
) -> tuple[int, Token] | None:
    others, mine = around(statement, token), _between(token, statement)
    if mine is None:
        return None
    for index in near:
        unit = evidence.parsed[index]
        if unit.language != statement.language:
            continue
        close = fit(others, unit, evidence.above[index], statement.language)
        if not close.at_least(_SHARE, min(_COUNT, len(others))):
            continue
        for other in unit.content:
            if other.number or other.stem in statement.stems or other.pairs or _is_cue(other):
                continue
            if mine == _between(other, unit) and _other_thing(token, other, statement.language):
                return index, other
    return None


def _between(token: Token, text: Parsed) -> tuple[str, str] | None:
    """The stems of the words right before and behind a word, function words and all; None at an edge."""
    row = text.tokens
    at = next(index for index, one in enumerate(row) if one is token)
    if at == 0 or at + 1 >= len(row):
        return None
    before, behind = row[at - 1], row[at + 1]
    if (
        before.clause != token.clause
        or behind.clause != token.clause
        or not (before.content or behind.content)
    ):
        return None
    return before.stem, behind.stem


def _other_thing(token: Token, other: Token, language: str) -> bool:
    """Whether two words of one place name two things, as far as a dictionary tells."""
    from rapidfuzz.distance import Levenshtein

    if Levenshtein.normalized_similarity(token.norm, other.norm) > 0.6:
        return False
    if token.text[0].isupper() != other.text[0].isupper():
        return False
    siblings = relation(token.norm, other.norm) in (Relation.SIBLING, Relation.OPPOSITE)
    return language == "en" and siblings
