"""An answer cut into segments as a person reads it: sentences, list items, table rows, code blocks, headings.

Pure and linear: one pass over the lines, one bounded library call for each paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Form(str, Enum):
    """How a segment stands on the page; what it says is decided elsewhere."""

    PROSE = "prose"
    ITEM = "list item"
    ROW = "table row"
    TABLE_HEAD = "table head"
    HEADING = "heading"
    CODE = "code"
    SOURCE = "source"  # an entry of a list of sources, a footnote
    LEAD_IN = "lead-in"  # ends with a colon and is followed by what it introduces


@dataclass(frozen=True, slots=True)
class Segment:
    """Characters [start, end) of the answer, without list markers and white space around them."""

    start: int
    end: int
    form: Form


_ITEM = re.compile(r"[ \t]*(?:[-*+•–▪◦‣·]|\(?\d{1,3}[.)、]|\(?[a-zA-Z][.)]|[①-⑳])[ \t]+|[ \t]*[•▪◦‣·](?=\S)")
_HEADING = re.compile(r"[ \t]*#{1,6}[ \t]+")
_QUOTE_MARK = re.compile(r"[ \t]*(?:>[ \t]?)+")
_RULE_SIGNS = frozenset(" \t|:+=-")
_NO_TEXT = re.compile(r"[\W_]*\Z")
_FENCE = ("```", "~~~")
_SOURCE = re.compile(
    r"[ \t]*(?:[-*+•][ \t]+)?(?:[\[【]\^?(?:s|S|source |doc )?\d{1,3}[\]】]:?[ \t]+\S|"
    r"[(*_ ]{0,3}(?:sources?|references?|quellen?|fuentes?|fontes?|fonti?|bronnen?|źródł[oa]"
    r"|来源|出典|참고|источники?|المصدر|المصادر|स्रोत)[*_]{0,2}[ \t]?[:：])",
    re.IGNORECASE,
)
_ENDS = tuple(".!?:;…。！？：；।؟")
_WIDE = 45  # characters from which a line without an end of sentence is a wrapped one
_MOST_CHARACTERS = 1200  # a longer run without an end of sentence is cut there
_MOST_CODE_LINES = 12
_MOST_PARAGRAPH = 2000  # characters for one call of the library, which is quadratic without white space


def segments_of(answer: str, language: str = "en") -> tuple[Segment, ...]:
    """The segments of `answer` in order; every word of it stands in exactly one."""
    return tuple(_segments(answer, language))


def _segments(answer: str, language: str) -> Iterator[Segment]:
    lines = list(_lines(answer))
    at = 0
    while at < len(lines):
        start, end = lines[at]
        text = answer[start:end]
        bare = text.strip()
        if bare.startswith(_FENCE):
            at, code = _code(answer, lines, at)
            yield from code
            continue
        if not bare or _NO_TEXT.match(bare):
            at += 1
            continue
        if bare.startswith("|") or (bare.count("|") >= 2 and _beside_rule(answer, lines, at)):
            at, rows = _table(answer, lines, at)
            yield from rows
            continue
        heading = _HEADING.match(text)
        if heading:
            yield from _trimmed(answer, start + heading.end(), end, Form.HEADING)
            at += 1
            continue
        if _SOURCE.match(text):
            yield from _trimmed(answer, start, end, Form.SOURCE)
            at += 1
            continue
        quote = _QUOTE_MARK.match(text)
        start += quote.end() if quote else 0
        marker = _ITEM.match(answer, start, end)
        form = Form.ITEM if marker else Form.PROSE
        start = marker.end() if marker else start
        at += 1
        while at < len(lines) and _goes_on(answer, lines[at - 1], lines[at]):
            end = lines[at][1]
            at += 1
        yield from _sentences(answer, start, end, form, language)


def _lines(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    while at <= len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        yield at, end
        at = end + 1


def _goes_on(answer: str, before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether a line is the rest of the one before it: wrapped by hand, not a new line of its own."""
    first, then = answer[before[0] : before[1]].rstrip(), answer[after[0] : after[1]]
    bare = then.strip()
    if not bare or len(first) < _WIDE or first.endswith(_ENDS) or bare.startswith((*_FENCE, "|", ">")):
        return False
    if _ITEM.match(then) or _HEADING.match(then) or _NO_TEXT.match(bare):
        return False
    return not first.rstrip("*_ ").endswith(_ENDS)


def _beside_rule(answer: str, lines: list[tuple[int, int]], at: int) -> bool:
    near = (answer[slice(*lines[i])].strip() for i in (at - 1, at + 1) if 0 <= i < len(lines))
    return any("|" in text and _is_rule(text) for text in near)


def _is_rule(line: str) -> bool:
    """Whether a line is the rule below a table's head; by its signs, a pattern would be quadratic."""
    return "-" in line and _RULE_SIGNS.issuperset(line)


def _code(answer: str, lines: list[tuple[int, int]], at: int) -> tuple[int, list[Segment]]:
    """The block that opens at a line; cut where it is long."""
    fence = answer[slice(*lines[at])].strip()[:3]
    last = at + 1
    while last < len(lines) and not answer[slice(*lines[last])].strip().startswith(fence):
        last += 1
    inside = lines[at + 1 : last]
    out: list[Segment] = []
    for first in range(0, len(inside), _MOST_CODE_LINES):
        part = inside[first : first + _MOST_CODE_LINES]
        out += _trimmed(answer, part[0][0], part[-1][1], Form.CODE)
    return last + 1, out


def _table(answer: str, lines: list[tuple[int, int]], at: int) -> tuple[int, list[Segment]]:
    out: list[Segment] = []
    first = at
    while at < len(lines) and "|" in answer[slice(*lines[at])]:
        text = answer[slice(*lines[at])].strip()
        if not _NO_TEXT.match(text):
            ruled = at + 1 < len(lines) and _is_rule(answer[slice(*lines[at + 1])])
            form = Form.TABLE_HEAD if at == first and ruled else Form.ROW
            out += _trimmed(answer, *lines[at], form)
        at += 1
    return max(at, first + 1), out


def _trimmed(answer: str, start: int, end: int, form: Form) -> list[Segment]:
    strip = " \t\n|" if form in (Form.ROW, Form.TABLE_HEAD) else " \t\n\r"
    while start < end and answer[start] in strip:
        start += 1
    while end > start and answer[end - 1] in strip:
        end -= 1
    return [Segment(start, end, form)] if start < end else []


def _sentences(answer: str, start: int, end: int, form: Form, language: str) -> Iterator[Segment]:
    ranges = list(
        _merged(answer, [(start + a, start + b) for a, b in boundaries(answer[start:end], language)])
    )
    for index, (first, last) in enumerate(ranges):
        for low in range(first, last, _MOST_CHARACTERS):
            high = min(last, low + _MOST_CHARACTERS)
            text = answer[low:high]
            if _NO_TEXT.match(text):
                continue
            lead = index == len(ranges) - 1 and text.rstrip("*_ ").endswith((":", "："))
            yield from _trimmed(answer, low, high, Form.LEAD_IN if lead else form)


_SURROGATE = re.compile("[\ud800-\udfff]")  # libraries in Rust refuse lone ones
_EMPHASIS = re.compile(r"\*\*|__")
_CLOSES = re.compile(
    r"[\s*_\"'”’»)\]】]*(?:[\[(【]\s*(?:\^|s|S|source|Source|doc)?\s?\d{1,3}[^\])】]{0,20}[\])】][\s.]*)*\Z"
)


def _merged(answer: str, ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Pieces that are only closing marks or citations go to the sentence before them."""
    held: tuple[int, int] | None = None
    for first, last in ranges:
        if held is not None and (_CLOSES.match(answer[first:last]) or _NO_TEXT.match(answer[first:last])):
            held = (held[0], last)
            continue
        if held is not None:
            yield held
        held = (first, last)
    if held is not None:
        yield held


def boundaries(text: str, language: str) -> list[tuple[int, int]]:
    """Start and end of each sentence of one paragraph, without the white space around it."""
    out: list[tuple[int, int]] = []
    at = 0
    while at < len(text):
        end = _cut(text, at)
        out += [(at + first, at + last) for first, last in _bounded(text[at:end], language)]
        at = end
    return out


def _cut(text: str, start: int) -> int:
    """Where a paragraph that is too long for one call of the library is cut: after a sentence or a word."""
    if len(text) - start <= _MOST_PARAGRAPH:
        return len(text)
    end = start + _MOST_PARAGRAPH
    for signs in (_ENDS, (" ",)):
        places = [text.rfind(sign, start + 1, end) for sign in signs]
        if max(places) > start:
            return max(places) + 1
    return end


def _bounded(text: str, language: str) -> list[tuple[int, int]]:
    from sentencex import get_sentence_boundaries

    sound = _EMPHASIS.sub(lambda m: " " * len(m.group()), _SURROGATE.sub("\ufffd", text)).replace("\n", " ")
    out = []
    for found in get_sentence_boundaries(language, sound):
        start, end = found["start_index"], found["end_index"]
        while start < end and sound[start].isspace():
            start += 1
        while end > start and sound[end - 1].isspace():
            end -= 1
        if start < end:
            out.append((start, end))
    return out
