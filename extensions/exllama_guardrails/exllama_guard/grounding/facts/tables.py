"""Tables of the evidence: Markdown, HTML, CSV and text aligned by spaces, each cell with its row and column."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from exllama_guard.grounding.facts.values import Unit


@dataclass(frozen=True, slots=True)
class Cell:
    """Characters [start, end) of the text of one unit."""

    unit: int
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells without the head; `head` has one text a column, or is empty."""

    snippet_id: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    headline: tuple[Cell, ...] = ()
    above: tuple[str, ...] = ()

    def column_of(self, row: tuple[Cell, ...], index: int) -> str:
        """The head of a cell's column; "" where there is none."""
        if not self.head:
            return ""
        if len(row) == len(self.head):
            return self.head[index]
        shifted = index + len(self.head) - len(row)
        return self.head[shifted] if 0 <= shifted < len(self.head) and index else ""


@dataclass(frozen=True, slots=True)
class _Line:
    unit: int
    start: int
    text: str
    context: tuple[str, ...]


def tables_of(units: Sequence[Unit]) -> tuple[Table, ...]:
    """The tables of all units in order."""
    out: list[Table] = []
    by_snippet: dict[str, list[int]] = {}
    for index, unit in enumerate(units):
        by_snippet.setdefault(unit.snippet_id, []).append(index)
    for snippet_id, indices in by_snippet.items():
        lines = list(_lines(units, indices))
        out += _html(snippet_id, units, indices)
        at = 0
        while at < len(lines):
            size, table = _table_at(snippet_id, lines, at)
            if table is not None:
                out.append(table)
            at += max(1, size)
    return tuple(out)


def _lines(units: Sequence[Unit], indices: list[int]) -> Iterator[_Line]:
    for index in indices:
        start = 0
        for text in units[index].text.split("\n"):
            if "<t" not in text:
                yield _Line(index, start, text, units[index].context)
            start += len(text) + 1


_RULE = re.compile(r"(?=[\s|:+=]*-)[\s|:+=-]+\Z")
_GAP = re.compile(r" {2,}|\t+")


def _table_at(snippet_id: str, lines: list[_Line], at: int) -> tuple[int, Table | None]:
    for split, least in ((_by_pipe, 1), (_by_mark, 3), (_by_gap, 2)):
        run = _run(lines, at, split)
        if len(run) >= least and (
            split is not _by_gap or sum(len(r) > 2 for r in run) * 2 > len(run) or len(run) > 3
        ):
            table = _made(snippet_id, run, lines[at].context, ruled=split is _by_pipe)
            if table is not None:
                size = _consumed(lines, at, run)
                return size, table
    return 1, None


def _consumed(lines: list[_Line], at: int, run: list[tuple[Cell, ...]]) -> int:
    last = run[-1][-1]
    size = 0
    while at + size < len(lines) and (lines[at + size].unit, lines[at + size].start) <= (
        last.unit,
        last.start,
    ):
        size += 1
    return size


def _run(lines: list[_Line], at: int, split: object) -> list[tuple[Cell, ...]]:
    out: list[tuple[Cell, ...]] = []
    width = 0
    for line in lines[at:]:
        if out and _RULE.match(line.text):
            continue
        cells = split(line)  # type: ignore[operator]
        slack = 0 if split is _by_mark else 1
        if len(cells) < 2 or (width and abs(len(cells) - width) > slack and split is not _by_gap):
            break
        width = width or len(cells)
        out.append(cells)
    return out


def _by_pipe(line: _Line) -> tuple[Cell, ...]:
    if "|" not in line.text or (line.text.strip().count("|") < 1):
        return ()
    return _cut(line, re.compile(r"\|"), strip="| ")


def _by_mark(line: _Line) -> tuple[Cell, ...]:
    text = line.text
    if text.startswith("#") or text.rstrip().endswith((".", "?", "!")):
        return ()
    for mark in (";", "\t", ","):
        count = text.count(mark)
        if count >= (2 if mark == "," else 1) and (mark != "," or text.count(", ") * 2 < count):
            return _cut(line, re.compile(re.escape(mark)), strip="")
    return ()


def _by_gap(line: _Line) -> tuple[Cell, ...]:
    if not _GAP.search(line.text.strip()):
        return ()
    return _cut(line, _GAP, strip=" ")


def _cut(line: _Line, mark: re.Pattern[str], strip: str) -> tuple[Cell, ...]:
    text = line.text
    low = len(text) - len(text.lstrip(strip + " \t")) if strip else 0
    high = len(text.rstrip(strip + " \t\r")) if strip else len(text.rstrip("\r"))
    out = []
    at = low
    for match in mark.finditer(text, low, high):
        out.append(_cell(line, at, match.start()))
        at = match.end()
    out.append(_cell(line, at, high))
    return tuple(out)


def _cell(line: _Line, start: int, end: int) -> Cell:
    while start < end and line.text[start] in ' \t*"':
        start += 1
    while end > start and line.text[end - 1] in ' \t*"':
        end -= 1
    return Cell(line.unit, line.start + start, line.start + end, line.text[start:end])


def _numeric(cell: str) -> bool:
    return any(c.isdigit() for c in cell) and sum(c.isalpha() for c in cell) <= 6


def _made(
    snippet_id: str, run: list[tuple[Cell, ...]], context: tuple[str, ...], ruled: bool
) -> Table | None:
    head_in_context = next((c for c in reversed(context) if "|" in c), None) if ruled else None
    first = run[0]
    if head_in_context is not None and _same(head_in_context, first):
        head_in_context = None
    if head_in_context is not None:
        head = tuple(part.strip(" *") for part in head_in_context.strip("| ").split("|"))
        return Table(snippet_id, head, tuple(run), (), context)
    if len(run) > 1 and sum(_numeric(c.text) for c in first) * 2 <= len(first) and _is_head(run):
        return Table(snippet_id, tuple(c.text for c in first), tuple(run[1:]), first, context)
    if len(run) < 2:
        return None
    return Table(snippet_id, (), tuple(run), (), context)


def _same(head: str, row: tuple[Cell, ...]) -> bool:
    return [part.strip(" *") for part in head.strip("| ").split("|")] == [c.text for c in row]


def _is_head(run: list[tuple[Cell, ...]]) -> bool:
    """A head is less numeric than the rows below it, or a table of words has one anyway."""
    below = run[1:]
    numeric = sum(_numeric(c.text) for row in below for c in row) / max(1, sum(len(row) for row in below))
    return sum(_numeric(c.text) for c in run[0]) / len(run[0]) <= numeric


_TR = re.compile(r"<tr\b[^<>]{0,200}>")
_TD = re.compile(r"<t([dh])\b[^<>]{0,200}>([^\0]{0,600}?)</t[dh]>")
_TAG = re.compile(r"<[^<>]{0,200}>")


def _html(snippet_id: str, units: Sequence[Unit], indices: list[int]) -> Iterator[Table]:
    if not any("<t" in units[i].text for i in indices):
        return
    starts, text = [], ""
    for index in indices:
        starts.append(len(text))
        text += units[index].text + "\n"
    for block in re.split(r"(?=<table\b)", text):
        offset = text.find(block)
        rows: list[tuple[Cell, ...]] = []
        head: tuple[str, ...] = ()
        marks = [m.end() for m in _TR.finditer(block)] + [len(block)]
        for low, high in pairwise(marks):
            found = list(_TD.finditer(block, low, high))
            cells = tuple(_html_cell(m, offset, starts, indices) for m in found)
            if found and all(m[1] == "h" for m in found) and not rows:
                head = tuple(c.text for c in cells)
            elif cells:
                rows.append(cells)
        if rows:
            yield Table(snippet_id, head, tuple(rows))


def _html_cell(match: re.Match[str], offset: int, starts: list[int], indices: list[int]) -> Cell:
    start = offset + match.start(2)
    which = bisect_right(starts, start) - 1
    inner = match[2]
    lead = len(inner) - len(_TAG.sub("", inner).lstrip()) if inner.startswith("<") else 0
    start += lead if inner.startswith("<") else 0
    text = _TAG.sub("", inner).strip()
    low = start - starts[which]
    return Cell(indices[which], low, low + len(text), text)
