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
def _lists(evidence: Evidence) -> tuple[int, ...]:
    """The lengths of runs of units that share one context in one snippet."""
    out: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for unit in evidence.units:
        out[(unit.snippet_id, unit.context)] += 1
    return tuple(out.values())


def counted(value: float, statement: str, evidence: Evidence, near: tuple[int, ...]) -> str:
    """How a small whole number comes out as a count near the statement, in words; "" where it does not."""
    if value != int(value) or not 0 <= value <= MOST_COUNTED:
        return ""
    number, stems = int(value), stems_of(statement)
    for rows, cells, snippet in _tables(evidence):
        if rows == number and rows > 1:
            return f"{number} rows of a table of {snippet}"
        for text, times in cells.items():
            if times == number and stems_of(text) & stems:
                return f"{number} rows of a table of {snippet} have “{text}”"
    if number in _lists(evidence) and number > 1:
        return f"a list of {number}"
    for index in near:
        for part in re.split(r"[.:;()\n]\s?", evidence.units[index].text[:800]):
            if number > 1 and len(_ENUMERATION.split(part)) in (number, number + 1) and stems_of(part):
                return f"{number} named in {evidence.units[index].snippet_id}"
    parts = [
        len([p for p in _ENUMERATION.split(part) if p.strip()]) for part in re.split(r"[:()–—]\s?", statement)
    ]
    if number > 1 and number in parts:
        return f"{number} named in the answer"
    return ""
