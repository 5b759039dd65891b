"""Everything countable in a text, in order and without overlap: dates, times, identifiers, amounts."""

from __future__ import annotations

from functools import lru_cache

from exllama_guard.grounding.facts.dates import Date, dates_of
from exllama_guard.grounding.facts.identifiers import Token, identifiers_of
from exllama_guard.grounding.facts.numerals import plain
from exllama_guard.grounding.facts.quantities import Quantity, quantities_of, without_markers
from exllama_guard.grounding.facts.times import Clock, clock_times

Value = Quantity | Date | Clock | Token
MOST_CHARACTERS = 4000  # of one unit or statement; what lies behind is not read


@lru_cache(maxsize=16384)
def values_of(text: str, language: str) -> tuple[Value, ...]:
    """The values of `text` in order of place."""
    bare = without_markers(text[:MOST_CHARACTERS])
    dates = dates_of(bare)
    found: list[Value] = [d for d in dates if _is_written_out(d)]
    for token in identifiers_of(bare):
        if not _hit(token, found):
            found.append(token)
    for clock in clock_times(bare):
        if not _hit(clock, found):
            found.append(clock)
    rest = [d for d in dates if not _is_written_out(d) and not _hit(d, found)]
    amounts = quantities_of(bare, language, tuple((v.start, v.end) for v in found))
    for one in amounts:
        lone = next((d for d in rest if d.start < one.end and one.start < d.end), None)
        if lone is not None and (
            (lone.year is None and lone.quarter is None) or one.dimension or one.per or _counts(one)
        ):
            rest.remove(lone)
        if lone is None or lone not in rest:
            found.append(one)
    return tuple(sorted([*found, *rest], key=lambda v: v.start))


def _is_written_out(day: Date) -> bool:
    return sum(part is not None for part in day.parts()) >= 2


def _counts(one: Quantity) -> bool:
    return one.readings[0] != int(one.readings[0]) or "," in plain(one.text)


def _hit(one: Value, found: list[Value]) -> bool:
    return any(one.start < other.end and other.start < one.end for other in found)
