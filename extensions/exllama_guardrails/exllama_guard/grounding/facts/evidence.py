"""The evidence of an answer, read once: every value of it with the words that say what it is of."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from exllama_guard.grounding.facts.languages import language_of
from exllama_guard.grounding.facts.quantities import Quantity
from exllama_guard.grounding.facts.reading import MOST_CHARACTERS, Value, values_of
from exllama_guard.grounding.facts.tables import Cell, Table, tables_of
from exllama_guard.grounding.facts.terms import stem_of, terms_of
from exllama_guard.grounding.facts.units import CURRENCIES, measure_of
from exllama_guard.grounding.facts.values import Unit

_FAR = 0.12  # weight below which a word says nothing of a value
_CONTEXT, _BEFORE, _ROW, _OTHER_CELL = 0.4, 0.15, 1.0, 0.25
_BREAK = re.compile(r"[,;:.!?()|\n–—]|\band\b|\bbut\b|\bwhile\b|\bund\b|\bet\b|\by\b")
_MOST_UNITS = 600
_WINDOW = 260  # characters before and behind a value that may say what it is of
_NUMBER = re.compile(r"(?<![\w.,:])\d{2,6}(?![\w]|[.,:]\d)")  # a year or code that names a row


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a value stands in a table: index of the table, its row and column."""

    table: int
    row: int
    column: int


@dataclass(frozen=True, slots=True, eq=False)
class Mention:
    """One value of the evidence. `around`: stems near it, each with a weight in (0, 1]."""

    unit: int
    start: int
    end: int
    value: Value
    around: dict[str, float]
    spot: Spot | None = None

    @property
    def key(self) -> tuple[int, int]:
        """Where it begins."""
        return (self.unit, self.start)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """All mentions, the tables, and how telling each stem is."""

    units: tuple[Unit, ...]
    mentions: tuple[Mention, ...]
    tables: tuple[Table, ...]
    telling: dict[str, float]

    by_kind: dict[str, tuple[Mention, ...]]

    def like(self, value: Value) -> tuple[Mention, ...]:
        """The mentions that may equal `value` or stand in its place."""
        return self.by_kind.get(_kind_of(value), ())

    def text_of(self, mention: Mention) -> str:
        """The value as the evidence writes it."""
        return self.units[mention.unit].text[mention.start : mention.end]


def _kind_of(value: Value) -> str:
    if isinstance(value, Quantity):
        return (
            value.dimension
            if value.dimension in _OWN_LISTS
            else "money"
            if is_money(value.dimension)
            else "number"
        )
    return type(value).__name__


_OWN_LISTS = frozenset("time month length mass volume percent temperature data power energy".split())
_BESIDE = {
    "time": ("time", "month", "length", "number", "Clock"), "month": ("time", "month", "number"), "length": ("length", "time", "number"),
    "percent": ("percent", "number"), "temperature": ("temperature", "number"), "money": ("money", "number"),
    "Date": ("Date", "number"), "Clock": ("Clock", "number", "time"), "Token": ("Token", "number"),
}  # fmt: skip


def _by_kind(mentions: Sequence[Mention]) -> dict[str, tuple[Mention, ...]]:
    """For each kind of value all mentions that it is to be compared with; a bare number with everything."""
    kinds = [_kind_of(m.value) for m in mentions]
    out = {"number": tuple(mentions)}
    for kind in {*_OWN_LISTS, "money", "Date", "Clock", "Token"}:
        wanted = _BESIDE.get(kind, (kind, "number"))
        out[kind] = tuple(m for m, k in zip(mentions, kinds, strict=True) if k in wanted)
    return out


def evidence_of(units: Sequence[Unit], language: str) -> Evidence:
    """The evidence of `units`, read once for all statements of an answer."""
    return _evidence(tuple(units[:_MOST_UNITS]), language)


@lru_cache(maxsize=8)
def _evidence(units: tuple[Unit, ...], language: str) -> Evidence:
    tables = tables_of(units)
    languages: dict[str, str] = {}
    for unit in units:
        languages[unit.snippet_id] = languages.get(unit.snippet_id, "") + " " + unit.text[:300]
    languages = {key: language_of(text, language) for key, text in languages.items()}
    mentions: list[Mention] = []
    inside: dict[int, list[tuple[int, int]]] = {}
    for index, table in enumerate(tables):
        for row in (*((table.headline,) if table.headline else ()), *table.rows):
            for cell in row:
                inside.setdefault(cell.unit, []).append((cell.start, cell.end))
        mentions += _of_table(index, table, languages[table.snippet_id])
    for index, unit in enumerate(units):
        before = units[index - 1] if index and units[index - 1].snippet_id == unit.snippet_id else None
        mentions += _of_prose(index, unit, before, languages[unit.snippet_id], inside.get(index, []))
    mentions.sort(key=lambda m: m.key)
    return Evidence(units, tuple(mentions), tables, _telling(units), _by_kind(mentions))


def _telling(units: tuple[Unit, ...]) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for unit in units:
        stems = {term.stem for term in terms_of(unit.text[:MOST_CHARACTERS])}
        stems.update(_NUMBER.findall(unit.text[:MOST_CHARACTERS]))
        counts.update(stems.union(*(_stems(context) for context in unit.context)))
    total = len(units) + 1
    return {stem: math.log(1 + total / count) for stem, count in counts.items()}


@lru_cache(maxsize=4096)
def _stems(text: str) -> frozenset[str]:
    out = set()
    for term in terms_of(text):
        out.add(term.stem)
    for word in re.findall(r"[^\W\d_]+|\d+", text):
        if len(word) > 1 or word.isdigit() or word.isupper():
            out.add(stem_of(word))
    return frozenset(out)


@lru_cache(maxsize=8192)
def _starts_of(text: str) -> tuple[int, ...]:
    return tuple(term.start for term in terms_of(text))


def around_of(text: str, start: int, end: int) -> dict[str, float]:
    """Stems around characters [start, end) of `text`, nearer ones heavier, those in other clauses lighter."""
    out: dict[str, float] = {}
    low, high = max(0, start - _WINDOW), min(len(text), end + _WINDOW)
    breaks = [m.start() for m in _BREAK.finditer(text, low, high)]
    upto, after = bisect_left(breaks, start), bisect_left(breaks, end)
    for number in _NUMBER.finditer(text, low, high):
        if number.end() <= start or number.start() >= end:
            out[number.group()] = 0.5
    terms = terms_of(text)
    starts = _starts_of(text)
    first = bisect_left(starts, low)
    middle = bisect_left(starts, start)
    for rank, term in enumerate(reversed(terms[first:middle])):
        if term.end <= start:
            weight = 1 / (1 + (rank + 3 * (upto - bisect_left(breaks, term.start))) / 6)
            out[term.stem] = max(out.get(term.stem, 0.0), weight)
    for rank, term in enumerate(terms[bisect_left(starts, end) : bisect_left(starts, high)]):
        weight = 1 / (1 + (rank + 3 * (bisect_left(breaks, term.start) - after)) / 6)
        out[term.stem] = max(out.get(term.stem, 0.0), weight)
    return {stem: weight for stem, weight in out.items() if weight >= _FAR}


def _merge(out: dict[str, float], stems: frozenset[str], weight: float) -> None:
    for stem in stems:
        if out.get(stem, 0.0) < weight:
            out[stem] = weight


def _of_prose(
    index: int, unit: Unit, before: Unit | None, language: str, inside: list[tuple[int, int]]
) -> list[Mention]:
    text = unit.text
    if inside:
        signs = list(text)
        for start, end in inside:
            signs[start:end] = " " * (end - start)
        text = "".join(signs)
        if not any(c.isalnum() for c in text):
            return []
    out = []
    for value in values_of(text, language):
        around = around_of(text, value.start, value.end)
        for context in unit.context:
            _merge(around, _stems(context), _CONTEXT)
        if before is not None and len(before.text) < 400:
            _merge(around, _stems(before.text), _BEFORE)
        out.append(Mention(index, value.start, value.end, value, around))
    return out


def _of_table(number: int, table: Table, language: str) -> list[Mention]:
    out: list[Mention] = []
    for cell in table.headline:
        around = dict.fromkeys(_stems(cell.text), 1.0)
        out += _of_cell(cell, language, "", around, Spot(number, -1, 0))
    for r, row in enumerate(table.rows):
        words = [_stems(cell.text) for cell in row]
        named = [_is_name(cell) for cell in row]
        for c, cell in enumerate(row):
            head = table.column_of(row, c)
            around = {}
            for other, stems in enumerate(words):
                if other != c:
                    _merge(around, stems, _ROW if named[other] or other == 0 else _OTHER_CELL)
            _merge(around, _stems(head), _ROW)
            for above in table.above:
                if "|" not in above:
                    _merge(around, _stems(above), _CONTEXT)
            out += _of_cell(cell, language, head, around, Spot(number, r, c))
    return out


def _of_cell(cell: Cell, language: str, head: str, around: dict[str, float], spot: Spot) -> list[Mention]:
    out = []
    measured = _head_unit(head)
    for value in values_of(cell.text, language):
        inner = dict(around)
        for stem, weight in around_of(cell.text, value.start, value.end).items():
            inner[stem] = max(inner.get(stem, 0.0), weight)
        start, end = cell.start + value.start, cell.start + value.end
        out.append(Mention(cell.unit, start, end, _scaled(_with_unit(value, measured), head), inner, spot))
    return out


def _is_name(cell: Cell) -> bool:
    return sum(c.isalpha() for c in cell.text) > sum(c.isdigit() for c in cell.text)


_IN_HEAD = re.compile(
    r"[(\[,_]\s?(°?[^\W\d_]{1,12}|%|[€$£])\s?[)\]]?\s*\Z|(%|[€$£₹])|\b([^\W\d_]{3,12})\s*\Z"
)


@lru_cache(maxsize=1024)
def _head_unit(head: str) -> str:
    match = _IN_HEAD.search(head)
    if match is None:
        return ""
    written = match[1] or match[2] or match[3]
    return written if measure_of(written) is not None else ""


_SCALES = (
    (1e3, re.compile(r"\b(?:k|thousands?|000s?|tsd|тыс)\b|'000|[€$£]k|k[€$£]", re.IGNORECASE)),
    (1e6, re.compile(r"\b(?:millions?|mn|mio|mln|млн)\b|[€$£] ?m\b|\bm ?[€$£]|\bM(?=[ )])", re.IGNORECASE)),
    (1e9, re.compile(r"\b(?:billions?|bn|mrd|млрд)\b", re.IGNORECASE)),
)  # fmt: skip


@lru_cache(maxsize=1024)
def _head_scale(head: str) -> float:
    return next((scale for scale, pattern in _SCALES if pattern.search(head)), 1.0)


def _scaled(value: Value, head: str) -> Value:
    """A bare number under "EUR million" may stand for millions."""
    scale = _head_scale(head)
    if scale == 1.0 or not isinstance(value, Quantity) or value.per:
        return value
    return replace(value, readings=(*value.readings, *(r * scale for r in value.readings)))


def _with_unit(value: Value, written: str) -> Value:
    measure = measure_of(written) if written else None
    if measure is None or not isinstance(value, Quantity) or value.dimension or value.in_words:
        return value
    readings = tuple(r * measure.factor + measure.offset for r in value.readings)
    return replace(
        value,
        readings=readings,
        step=value.step * measure.factor,
        dimension=measure.dimension,
        unit=measure.name,
        size=measure.factor,
    )


def is_money(dimension: str) -> bool:
    """Whether a dimension is a currency."""
    return dimension in CURRENCIES


def affinity(around: dict[str, float], mention: Mention, telling: dict[str, float]) -> float:
    """How far the words around a value of the answer are those around a value of the evidence, in [0, 1]."""
    shared = total = 0.0
    theirs = mention.around
    for stem, weight in around.items():
        known = telling.get(stem)
        if known is None:
            continue
        total += weight * known
        other = theirs.get(stem)
        if other is not None:
            shared += weight * known * other
    return shared / total if total else 0.0
