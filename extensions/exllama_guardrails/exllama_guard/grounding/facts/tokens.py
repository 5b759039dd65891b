"""One word or sign of a text, as the checks of words read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Token:
    """One word: its place, its stem, and what it is.

    `sign` is -1 for the word that a negation turns, 0 where that is not plain, else 1. `pairs` are the pairs
    of opposites that it belongs to with its side of each.
    """

    start: int
    end: int
    text: str
    norm: str
    stem: str
    content: bool
    number: bool
    clause: int
    sign: int
    pairs: tuple[tuple[int, int], ...]
