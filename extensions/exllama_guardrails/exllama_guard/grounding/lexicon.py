"""English word knowledge from WordNet 3.0: how common a word is, and how two words relate."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path

_FILE = Path(__file__).parent / "data" / "words.json.gz"
_LEVELS = 3  # how far up the tree a broader word may lie


class Relation(str, Enum):
    """What the first word is to the second."""

    SAME = "same"
    BROADER = "broader"
    NARROWER = "narrower"
    OPPOSITE = "opposite"
    SIBLING = "sibling"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class _Table:
    senses: dict[str, str]
    broader: list[str]
    opposite: frozenset[tuple[str, str]]
    derived: frozenset[tuple[str, str]]
    irregular: dict[str, str]
    frequency: dict[str, float]


@lru_cache(maxsize=1)
def _table() -> _Table:
    raw = json.loads(gzip.decompress(_FILE.read_bytes()))
    return _Table(
        senses=raw["senses"],
        broader=raw["broader"],
        opposite=frozenset((a, b) for a, b in raw["opposite"]),
        derived=frozenset((a, b) for a, b in raw["derived"]),
        irregular=raw["irregular"],
        frequency=raw["frequency"],
    )


def irregular(norm: str) -> str:
    """The base form of an irregular English form ("bought" gives "buy"), else the word itself."""
    return _table().irregular.get(norm, norm)


@lru_cache(maxsize=65536)
def weight_of(norm: str) -> float:
    """How much a word tells, (0, 1]: 1 for a word that no WordNet gloss holds, near 0.1 for the commonest."""
    table = _table()
    count = table.frequency.get(norm)
    if count is None:
        base = lemma_of(norm)
        count = table.frequency.get(base, 0.0) if base else 0.0
    return max(0.1, 1.0 - count / 11.0)


@lru_cache(maxsize=65536)
def lemmas_of(norm: str) -> tuple[str, ...]:
    """The dictionary forms that WordNet knows of a word, base forms first; () for a word it does not know."""
    table = _table()
    found = [table.irregular[norm]] if norm in table.irregular else []
    for ending, instead in _ENDINGS:
        if norm.endswith(ending) and len(norm) > len(ending) + 1:
            stem = norm[: -len(ending)]
            found += [stem + instead, stem[:-1] if stem[-1:] == stem[-2:-1] else ""]
    return tuple(dict.fromkeys(lemma for lemma in [*found, norm] if lemma in table.senses))


def lemma_of(norm: str) -> str:
    """The first dictionary form of a word, or "" for a word that WordNet does not know."""
    return next(iter(lemmas_of(norm)), "")


_ENDINGS = (
    ("ies", "y"),
    ("ves", "f"),
    ("es", "e"),
    ("es", ""),
    ("s", ""),
    ("ied", "y"),
    ("ed", "e"),
    ("ed", ""),
    ("ing", "e"),
    ("ing", ""),
    ("iest", "y"),
    ("est", "e"),
    ("est", ""),
    ("ier", "y"),
    ("er", "e"),
    ("er", ""),
)


@lru_cache(maxsize=65536)
def _senses(norm: str) -> frozenset[int]:
    return frozenset(int(key) for lemma in lemmas_of(norm) for key in _table().senses[lemma].split())


@lru_cache(maxsize=65536)
def _parents(norm: str) -> frozenset[int]:
    table = _table()
    return frozenset(int(up) for sense in _senses(norm) for up in table.broader[sense].split())


@lru_cache(maxsize=65536)
def _ancestors(norm: str) -> frozenset[int]:
    table = _table()
    seen: set[int] = set()
    level = set(_senses(norm))
    for _ in range(_LEVELS):
        level = {int(up) for sense in level for up in table.broader[sense].split()} - seen
        seen |= level
    return frozenset(seen)


@lru_cache(maxsize=262144)
def relation(first: str, second: str) -> Relation:
    """What case-folded `first` is to `second`; NONE where WordNet knows no relation."""
    mine, theirs = lemmas_of(first), lemmas_of(second)
    if not mine or not theirs:
        return Relation.NONE
    if set(mine) & set(theirs):
        return Relation.SAME
    table = _table()
    pairs = {(min(a, b), max(a, b)) for a in mine for b in theirs}
    if not pairs.isdisjoint(table.opposite):
        return Relation.OPPOSITE
    senses_a, senses_b = _senses(first), _senses(second)
    if not pairs.isdisjoint(table.derived) or senses_a & senses_b:
        return Relation.SAME
    if senses_a & _ancestors(second):
        return Relation.BROADER
    if senses_b & _ancestors(first):
        return Relation.NARROWER
    if _parents(first) & _parents(second):
        return Relation.SIBLING
    return Relation.NONE
