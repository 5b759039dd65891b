"""Durations between dates and times, and what lies a duration later or earlier."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from exllama_guard.grounding.facts.compare import close
from exllama_guard.grounding.facts.dates import Date, moved
from exllama_guard.grounding.facts.operands import Operand, Result
from exllama_guard.grounding.facts.quantities import Quantity
from exllama_guard.grounding.facts.reading import Value
from exllama_guard.grounding.facts.times import Clock

_DAY_S = 86_400.0


def durations(target: Quantity, pool: list[Operand]) -> Iterator[Result]:
    """The ways in which `target` is the time between two clock times or two dates."""
    if target.dimension not in ("time", "month", ""):
        return
    clocks = [one for one in map(_as_clock, pool) if one is not None]
    for first, second in combinations(clocks, 2):
        a, b = first.value, second.value
        if not isinstance(a, Clock) or not isinstance(b, Clock) or target.dimension == "month":
            continue
        gap_s = round(60 * abs(a.minutes - b.minutes), 3)
        for value_s in (gap_s, _DAY_S - gap_s, abs(gap_s - _DAY_S / 2)):
            if value_s and any(
                close(r, value_s if target.dimension else value_s / 3600, target) for r in target.readings
            ):
                low, high = (first, second) if a.minutes <= b.minutes else (second, first)
                strength = 1.0 if value_s == gap_s else 0.8
                yield Result(f"from {low.text} to {high.text}", (first, second), strength)
    if target.dimension == "time":
        yield from _in_the_week(target, pool)
    days = [o for o in pool if isinstance(o.value, Date)]
    for first, second in combinations(days, 2):
        if _between(target, first, second):
            yield Result(f"from {first.text} to {second.text}", (first, second), 1.0)


_NEXT_TO = 12  # characters between a weekday and its time of day


def _in_the_week(target: Quantity, pool: list[Operand]) -> Iterator[Result]:
    """The ways in which `target` is the time from a weekday's hour to another one's: Friday 14:00, Monday 7:00."""
    moments = [
        (day.value.weekday * 1440 + clock.value.minutes, clock)
        for clock in pool
        for day in pool
        if isinstance(clock.value, Clock)
        and isinstance(day.value, Date)
        and day.value.weekday is not None
        and 0 <= clock.value.start - day.value.end <= _NEXT_TO
        and _place(day) == _place(clock)
    ]
    for first, second in combinations(moments, 2):
        gap = (second[0] - first[0]) % (7 * 1440)
        if gap and any(close(r, gap * 60, target) for r in target.readings):
            formula = f"from {first[1].text} to {second[1].text} of another day"
            yield Result(formula, (first[1], second[1]), 1.0)


def _place(one: Operand) -> tuple[bool, int]:
    """The text that an operand stands in: the statement, or a unit of the evidence."""
    return one.own, one.mention.key[0] if one.mention else -1


_DOTTED = re.compile(r"([01]?\d|2[0-3])\.([0-5]\d)\Z")


def _as_clock(one: Operand) -> Operand | None:
    """A time of day, also one written 11.50."""
    if isinstance(one.value, Clock):
        return one
    if (
        isinstance(one.value, Quantity)
        and one.value.dimension == "time"
        and ":" not in one.text
        and 3600 <= one.value.value < 86400
    ):
        return (
            replace(one, value=Clock(0, 0, one.value.value / 60, True))
            if re.search(r"h|Std|ч", one.text)
            else None
        )
    match = _DOTTED.match(one.text) if isinstance(one.value, Quantity) and not one.value.dimension else None
    return (
        replace(one, value=Clock(0, 0, int(match[1]) * 60 + int(match[2]), False))
        if match is not None
        else None
    )


def _between(target: Quantity, first: Operand, second: Operand) -> bool:
    a, b = first.value, second.value
    if not isinstance(a, Date) or not isinstance(b, Date):
        return False
    year = a.year or b.year
    if a.day and b.day and a.month and b.month:
        low, high = a.as_day(year or 2023), b.as_day(year or 2023)
        if low is None or high is None:
            return False
        gap = abs((high - low).days)
        if target.dimension == "time":
            return any(close(r, g * 86400.0, target) for r in target.readings for g in (gap, gap + 1))
        months = gap / 30.4375
        if target.dimension == "month":
            if abs(months - target.value) <= (0.05 * months if target.hedge else 0.15):
                return True
            return (
                a.day == b.day
                and (low.month - high.month) % 12 == target.value % 12
                and abs(months - target.value) < 0.2
            )
        years = abs(high.year - low.year)
        return target.value in (years, years - 1) and years > 1
    if a.year and b.year and a.year != b.year:
        years = abs(a.year - b.year)
        wanted = target.value / 12 if target.dimension == "month" else target.value
        return target.dimension != "time" and (
            wanted in (years, years - 1) or (bool(target.hedge) and abs(wanted - years) <= 0.08 * years)
        )
    if a.month and b.month and a.month != b.month and target.dimension == "month":
        return target.value in ((a.month - b.month) % 12, (b.month - a.month) % 12)
    return False


def clock_from(target: Clock, pool: Sequence[Operand]) -> Result | None:
    """A time that is another one and a duration later or earlier."""
    best: Result | None = None
    for one in pool:
        if not isinstance(one.value, Clock):
            continue
        for other in pool:
            if not isinstance(other.value, Quantity) or not (
                other.value.dimension == "time"
                or (other.own and not other.value.dimension and other.value.shown > 24)
            ):
                continue
            for sign, word in ((1, "+"), (-1, "−")):
                minutes = (
                    one.value.minutes
                    + sign * (other.value.value / 60 if other.value.dimension else other.value.shown)
                ) % 1440
                if Clock(0, 0, minutes, one.value.told).same(target):
                    strength = 0.5 + (one.weight + other.weight) / 4
                    if best is None or strength > best.strength:
                        best = Result(f"{one.text} {word} {other.text}", (one, other), strength)
    return best if best is not None and best.strength >= 0.6 else None


def date_from(target: Date, pool: Sequence[Operand]) -> Result | None:
    """A date that is another one and a duration later or earlier; a weekday from the calendar."""
    best: Result | None = None
    durations = [o for o in pool if isinstance(o.value, Quantity) and o.value.dimension in ("time", "month")]
    for one in pool:
        if not isinstance(one.value, Date):
            continue
        for other in durations:
            for sign, word in ((1, "+"), (-1, "−")):
                if _reaches(target, one.value, other.value, sign):
                    strength = 0.5 + (one.weight + other.weight) / 4
                    if best is None or strength > best.strength:
                        best = Result(f"{one.text} {word} {other.text}", (one, other), strength)
    return best if best is not None and best.strength >= 0.6 else None


def _reaches(target: Date, start: Date, span: Value, sign: int) -> bool:
    if not isinstance(span, Quantity):
        return False
    if start.day is None or start.month is None:
        if start.year and target.year and not target.month and span.dimension == "month":
            return target.year == start.year + sign * span.value / 12
        if start.month and target.month and not target.day and span.dimension == "month" and span.value < 60:
            index = (start.year or 2023) * 12 + start.month - 1 + sign * int(span.value)
            return target.month == index % 12 + 1 and (
                not target.year or not start.year or target.year == index // 12
            )
        return False
    day = start.as_day(target.year if start.year is None else None) or start.as_day(2023)
    if day is None:
        return False
    if span.dimension == "time":
        goal = moved(day, sign * span.value / 86400) if span.value % 86400 == 0 else None
    else:
        goal = moved(day, 0, sign * span.value)
    if goal is None:
        return False
    fits = (
        (target.month in (None, goal.month))
        and (target.day in (None, goal.day))
        and (target.weekday in (None, goal.weekday()))
    )
    return (
        fits
        and (target.year is None or start.year is None or target.year == goal.year)
        and (target.day is not None or target.month is not None or target.year is not None)
    )
