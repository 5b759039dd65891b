"""Cuts a long text into passages at sentence ends; every passage is an exact range of the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from exllama_guard.core.snippets import Span

__all__ = ["split_passages"]

# After a sentence's end mark with its closing quotes, or at a line break.
_BOUNDARY = re.compile(r"(?<=[.!?…])[\"'»”’)\]]*\s+|(?<=[。！？])|(?<!\s)\s*\n\s*")
_CHARACTERS_PER_WORD = 8  # for scripts that put no space between words


def split_passages(text: str, *, words_per_passage: int = 120, whole_up_to: int = 200) -> tuple[Span, ...]:
    """Ranges of `text` in order, disjoint, none blank, that hold all its characters but blank ones.

    A text of at most `whole_up_to` words is one passage. A longer one is cut into passages of about
    `words_per_passage` words, at sentence ends and line breaks; a sentence that alone is longer than that
    is cut between words, and a run of characters without a space after 8 characters a word.
    120 words fit the window of all-MiniLM-L6-v2 (256 word pieces).
    """
    whole = _trimmed(text, 0, len(text))
    if whole is None:
        return ()
    if _count(text, whole) <= whole_up_to:
        return (whole,)
    units = [(unit, _count(text, unit)) for unit in _units(text, words_per_passage)]
    return tuple(_packed(units, words_per_passage))


def _packed(units: Iterable[tuple[Span, int]], limit: int) -> Iterator[Span]:
    start: int | None = None
    end = words = 0
    for unit, count in units:
        if start is not None and words + count > limit:
            yield Span(start, end)
            start = None
        if start is None:
            start, words = unit.start, 0
        end, words = unit.end, words + count
    if start is not None:
        yield Span(start, end)


def _units(text: str, limit: int) -> Iterator[Span]:
    at = 0
    for boundary in _BOUNDARY.finditer(text):
        if boundary.end() > at:
            yield from _short(text, _trimmed(text, at, boundary.end()), limit)
            at = boundary.end()
    yield from _short(text, _trimmed(text, at, len(text)), limit)


def _short(text: str, unit: Span | None, limit: int) -> Iterator[Span]:
    if unit is None:
        return
    if _count(text, unit) <= limit:
        yield unit
        return
    longest = limit * _CHARACTERS_PER_WORD
    for word in re.compile(r"\S+").finditer(text, unit.start, unit.end):
        for start in range(word.start(), word.end(), longest):
            yield Span(start, min(start + longest, word.end()))


def _count(text: str, span: Span) -> int:
    return max(len(text[span.start : span.end].split()), len(span) // _CHARACTERS_PER_WORD)


def _trimmed(text: str, start: int, end: int) -> Span | None:
    piece = text[start:end]
    body = piece.strip()
    if not body:
        return None
    start += len(piece) - len(piece.lstrip())
    return Span(start, start + len(body))
