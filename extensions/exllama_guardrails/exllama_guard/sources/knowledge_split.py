"""Places of the snippets of one section: whole sentences, about 120 words each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from exllama_guard.core.snippets import Span

__all__ = ["CHUNK_SCHEMA", "Splitter", "sentence_spans", "snippet_spans"]

Splitter: TypeAlias = Callable[[str], Sequence[Span]]

# all-MiniLM-L6-v2 reads 256 word pieces; 120 words are about 160 of them.
TARGET_WORDS = 120
MAX_WORDS = 160
CHUNK_SCHEMA = f"section, sentence, target {TARGET_WORDS} words, at most {MAX_WORDS}, heading embedded, v2"

_LONGEST_WORD_CHARACTERS = 40  # a longer run without a space is a script that puts none, or no word
_CHARACTERS_PER_WORD = 8  # how such a run is counted

_WORD = re.compile(r"\S+")
_SENTENCE_END = re.compile(
    r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[*_`]*[^\W\d_a-z])|(?<=[.!?…])\s+(?=\d)|[。！？]|\n\s*\n|\n(?=\s*(?:[-*+|>]|\d+[.)])\s)"
)


def sentence_spans(text: str) -> list[Span]:
    """Sentences, list items and paragraphs of `text` in order, without the blank space around them."""
    spans: list[Span] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        end = match.end() if match.group().strip() else match.start()
        spans.append(Span(start, end))
        start = match.end()
    spans.append(Span(start, len(text)))
    return [trimmed for span in spans if len(trimmed := _trimmed(text, span))]


def snippet_spans(text: str, within: Span, splitter: Splitter = sentence_spans) -> list[Span]:
    """Places in `text` of the snippets of the section `within`, in order, none overlapping, none blank.

    Sentences are packed up to 120 words; a short rest joins the snippet before it where 160 words allow;
    a sentence of more than 160 words is cut between words. A run of more than 40 characters without a
    space counts a word for each eight, and may be cut anywhere.
    """
    body = text[within.start : within.end]
    groups: list[list[tuple[Span, int]]] = []
    held = 0
    for piece in splitter(body):
        for part, count in _cut(body, piece):
            if not groups or held + count > TARGET_WORDS:
                groups.append([])
                held = 0
            groups[-1].append((part, count))
            held += count
    totals = [sum(count for _, count in group) for group in groups]
    if len(groups) > 1 and totals[-2] + totals[-1] <= MAX_WORDS:
        rest = groups.pop()
        groups[-1] += rest
    return [Span(within.start + group[0][0].start, within.start + group[-1][0].end) for group in groups]


def _cut(text: str, span: Span) -> Iterator[tuple[Span, int]]:
    """`span`, or pieces of it of at most 160 words, each with its number of words."""
    start: int | None = None
    end = held = 0
    for word, count in _words(text, span):
        if start is not None and held + count > MAX_WORDS:
            yield Span(start, end), held
            start, held = None, 0
        start = word.start if start is None else start
        end, held = word.end, held + count
    if start is not None:
        yield Span(start, end), held


def _words(text: str, span: Span) -> Iterator[tuple[Span, int]]:
    """The words of `span`, each with what it counts for; a run without spaces in pieces of at most 160."""
    longest = MAX_WORDS * _CHARACTERS_PER_WORD
    for match in _WORD.finditer(text, span.start, span.end):
        if match.end() - match.start() <= _LONGEST_WORD_CHARACTERS:
            yield Span(*match.span()), 1
            continue
        for start in range(match.start(), match.end(), longest):
            piece = Span(start, min(start + longest, match.end()))
            yield piece, -(-len(piece) // _CHARACTERS_PER_WORD)


def _trimmed(text: str, span: Span) -> Span:
    body = text[span.start : span.end]
    start = span.start + len(body) - len(body.lstrip())
    return Span(start, max(start, span.start + len(body.rstrip())))
