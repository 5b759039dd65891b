"""The evidence as parsed units, and which of them speak of what a statement speaks of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from exllama_guard.grounding.facts.parsing import Parsed, language_in, parsed, weight
from exllama_guard.grounding.facts.tokens import Token
from exllama_guard.grounding.facts.values import Place, Unit

_OWN = 5  # units that share most words with a statement, beside those found by the caller
_MOST = 12
_MOST_CHARACTERS = 2000  # of a unit that are read


@dataclass(frozen=True, slots=True)
class Evidence:
    """Units with their words. `words` holds every case-folded word, `text` all of it, case-folded."""

    units: tuple[Unit, ...]
    parsed: tuple[Parsed, ...]
    above: tuple[frozenset[str], ...]  # stems of heading and table head above each unit
    words: frozenset[str]
    text: str
    language: str
    stems: frozenset[str]

    def place(self, unit: int, token: Token) -> tuple[Place, ...]:
        """Where a word of a unit stands."""
        return (Place(unit, token.start, token.end),)

    def name(self, unit: int) -> str:
        """The snippet that a unit belongs to, as the reader sees it."""
        return self.units[unit].snippet_id


@lru_cache(maxsize=16)
def evidence_of(units: tuple[Unit, ...], language: str) -> Evidence:
    """The units parsed, kept for the next statement of the same answer."""
    read = tuple(parsed(unit.text[:_MOST_CHARACTERS], language) for unit in units)
    above = tuple(
        frozenset(stem for line in unit.context for stem in parsed(line, language).stems) for unit in units
    )
    text = "\n".join([line for unit in units for line in (*unit.context, unit.text)]).casefold()
    words = frozenset(token.norm for one in read for token in one.tokens) | frozenset(
        token.norm for unit in units for line in unit.context for token in parsed(line, language).tokens
    )
    return Evidence(units, read, above, words, text, language_in(text, language), _stems(read, above))


def _stems(read: Sequence[Parsed], above: Sequence[frozenset[str]]) -> frozenset[str]:
    return frozenset(token.stem for one in read for token in one.tokens).union(*above)


def candidates(statement: Parsed, evidence: Evidence, near: Sequence[int]) -> tuple[int, ...]:
    """Units that may say what the statement says: those given, and those that share most words with it."""
    shared = [
        (len(statement.stems & one.stems), -index)
        for index, one in enumerate(evidence.parsed)
        if not statement.stems.isdisjoint(one.stems) and not _asks(one)
    ]
    own = [-index for _, index in sorted(shared, reverse=True)[:_OWN]]
    given = [
        index for index in near if 0 <= index < len(evidence.units) and not _asks(evidence.parsed[index])
    ]
    return tuple(dict.fromkeys([*given[:8], *own]))[:_MOST]


def _asks(unit: Parsed) -> bool:
    """Whether a unit is a question, which says nothing."""
    return unit.text.rstrip(' "”»*_)').endswith(("?", "？", "؟"))


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a unit speaks of what stands around one word: share by weight, and number of shared words."""

    share: float
    count: int

    def at_least(self, share: float, count: int) -> bool:
        """Whether both reach."""
        return self.share >= share and self.count >= count


def fit(tokens: Iterable[Token], unit: Parsed, above: frozenset[str], language: str) -> Fit:
    """The share of the content words `tokens` that a unit, or the heading above it, holds."""
    total = held = 0.0
    count = 0
    for token in tokens:
        own = weight(token, language)
        total += own
        if token.stem in unit.stems:
            held += own
            count += 1
        elif token.stem in above:
            held += own
    return Fit(held / total if total else 0.0, count)


def around(statement: Parsed, token: Token) -> tuple[Token, ...]:
    """The content words beside one word: its clause's, or the whole sentence's where that holds too few."""
    others = [one for one in statement.content if one.stem != token.stem]
    own = tuple(one for one in others if one.clause == token.clause)
    return own if len(own) >= 2 else tuple(others)
