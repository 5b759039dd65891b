"""Counts: how many rows of a table, items of a list or parts of a sentence there are, with a condition or without."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from exllama_guard.grounding.facts.evidence import Evidence
from exllama_guard.grounding.facts.terms import stems_of

MOST_COUNTED = 40
_ENUMERATION = re.compile(
    r",\s|\band\b|\bor\b|;\s|\bund\b|\boder\b|\bet\b|\by\b|\be\b|、|和|及|と|・|، | و|और|\bи\b"
)


@lru_cache(maxsize=8)
def _tables(evidence: Evidence) -> tuple[tuple[int, Counter[str], str], ...]:
    """Of each table: its rows, how many rows hold each cell text, and its snippet."""
    out = []
    for table in evidence.tables:
        cells: Counter[str] = Counter()
        for row in table.rows:
            cells.update({cell.text.casefold() for cell in row if cell.text})
        out.append((len(table.rows), cells, table.snippet_id))
    return tuple(out)


@lru_cache(maxsize=8)
def _lists(evidence: Evidence) -> tuple[tuple[str, int], ...]:
    """Snippet and size of each run of units under one heading."""
    out: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for unit in evidence.units:
        out[(unit.snippet_id, unit.context)] += 1
    return tuple((snippet, size) for (snippet, _), size in out.items())


def counted(value: float, statement: str, evidence: Evidence, near: tuple[int, ...]) -> str:
    """How a small whole number comes out as a count near the statement, in words; "" where it does not."""
    if value != int(value) or not 0 <= value <= MOST_COUNTED:
        return ""
    number = int(value)
    found = _rows(number, statement, evidence)
    if found or number < 2:
        return found
    snippet = next((s for s, size in _lists(evidence) if size == number), "")
    if snippet:
        return f"{number} entries under one heading of {snippet}"
    for index in near:
        if number in _parts(evidence.units[index].text[:800]):
            return f"{number} named in {evidence.units[index].snippet_id}"
    return f"{number} named in the answer" if number in _parts(statement) else ""


def _rows(number: int, statement: str, evidence: Evidence) -> str:
    stems = stems_of(statement)
    for rows, cells, snippet in _tables(evidence):
        if rows == number and rows > 1:
            return f"{number} rows of a table of {snippet}"
        for text, times in cells.items():
            if times == number and stems_of(text) & stems:
                return f"{number} rows of a table of {snippet} have “{text}”"
    return ""


def _parts(text: str) -> list[int]:
    """How many things each clause of `text` names one after another."""
    return [
        len([p for p in _ENUMERATION.split(part) if p.strip()]) for part in re.split(r"[.:;()\n–—]\s?", text)
    ]
