"""Sums, differences and averages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations

from exllama_guard.grounding.facts.evidence import Evidence
from exllama_guard.grounding.facts.operands import Operand, Result, adds_to, hits, number_of
from exllama_guard.grounding.facts.quantities import Quantity


def sums(target: Quantity, alike: list[Operand], cued: bool) -> Iterator[Result]:
    """The ways in which `target` is a sum of two to six operands, or two less a third."""
    strength = 1.0 if cued else 0.75
    yield from _of_size(target, alike, 2, strength)
    yield from _of_size(target, alike[:12], 3, strength * 0.95)
    yield from _runs(target, alike, strength)
    if len(alike) <= 8:
        for size in (4, 5, 6):
            yield from _of_size(target, alike, size, strength * 0.8)
    yield from _one_twice(target, alike[:10], strength * 0.85)
    yield from _less_a_third(target, alike[:10], strength * 0.75)


def _of_size(target: Quantity, alike: list[Operand], size: int, strength: float) -> Iterator[Result]:
    numbers = [number_of(target, one) for one in alike]
    for some in combinations(range(len(alike)), size):
        if hits(target, sum(numbers[i] for i in some)):
            yield Result(" + ".join(alike[i].text for i in some), tuple(alike[i] for i in some), strength)


def _one_twice(target: Quantity, alike: list[Operand], strength: float) -> Iterator[Result]:
    for one, other in permutations(alike, 2):
        if one.own and other.own and hits(target, number_of(target, one) + 2 * number_of(target, other)):
            yield Result(f"{one.text} + 2 × {other.text}", (one, other), strength)


def _less_a_third(target: Quantity, alike: list[Operand], strength: float) -> Iterator[Result]:
    for some in combinations(alike, 3):
        total = sum(number_of(target, one) for one in some)
        for index in range(3):
            value = total - 2 * number_of(target, some[index])
            if value > 0 and hits(target, value):
                rest = [one for i, one in enumerate(some) if i != index]
                yield Result(f"{rest[0].text} + {rest[1].text} − {some[index].text}", some, strength)


def _runs(target: Quantity, alike: list[Operand], strength: float) -> Iterator[Result]:
    """Sums of neighbours: the rows of a column, the items of a list, the amounts of a sentence."""
    for line in _lines(alike):
        yield from _runs_of(target, line, strength)


def _runs_of(target: Quantity, line: list[Operand], strength: float) -> Iterator[Result]:
    numbers = [number_of(target, one) for one in line]
    for low in range(len(line)):
        total = numbers[low]
        for high in range(low + 1, min(len(line), low + 24)):
            total += numbers[high]
            whole = high - low + 1 == len(line)
            if high - low >= 2 and hits(target, total):
                some = tuple(line[low : high + 1])
                shown = " + ".join(o.text for o in some[:6]) + (" + …" if len(some) > 6 else "")
                yield Result(shown, some, strength if whole or low == 0 else strength * 0.8)
            if whole and hits(target, total / len(line)):
                yield Result(f"average of {', '.join(o.text for o in line[:8])}", tuple(line), strength)


def columns(
    target: Quantity, pool: list[Operand], evidence: Evidence, cues: frozenset[str]
) -> Iterator[Result]:
    """Sums and averages of neighbouring cells of whole columns of the tables that the statement is near to."""
    near = {
        o.mention.spot.table: o.weight
        for o in reversed(pool)
        if o.mention is not None and o.mention.spot is not None
    }
    if not near or not cues & {"sum", "times"}:
        return
    columns: dict[tuple[int, int], list[Operand]] = {}
    for mention in evidence.mentions:
        spot = mention.spot
        if spot is not None and spot.table in near and spot.row >= 0 and isinstance(mention.value, Quantity):
            snippet = evidence.units[mention.unit].snippet_id
            one = Operand(
                mention.value, evidence.text_of(mention), mention, max(0.5, near[spot.table]), snippet
            )
            if adds_to(target, one):
                columns.setdefault((spot.table, spot.column), []).append(one)
    for column in columns.values():
        if 2 < len(column) <= 40:
            yield from _runs_of(target, column, 0.9)


def _lines(alike: list[Operand]) -> list[list[Operand]]:
    columns: dict[tuple[str, int, int], list[Operand]] = {}
    for one in alike:
        spot = one.mention.spot if one.mention else None
        if one.mention is None:
            columns.setdefault(("own", 0, 0), []).append(one)
        elif spot is not None:
            columns.setdefault(("column", spot.table, spot.column), []).append(one)
            columns.setdefault(("row", spot.table, spot.row), []).append(one)
        else:
            columns.setdefault(("unit", one.mention.unit, 0), []).append(one)
    ordered = [
        sorted(line, key=lambda o: o.mention.key if o.mention else (0, 0)) for line in columns.values()
    ]
    return [line for line in [*ordered, alike[:16]] if len(line) > 2]


def pairs(target: Quantity, alike: list[Operand], cued: bool) -> Iterator[Result]:
    """The ways in which `target` is a difference or an average of two operands, or one less two others."""
    strength = 1.0 if cued else 0.7
    for first, second in combinations(alike, 2):
        a, b = number_of(target, first), number_of(target, second)
        high, low = (first, second) if a >= b else (second, first)
        if a != b and hits(target, abs(a - b)):
            yield Result(f"{high.text} − {low.text}", (high, low), strength)
        if a != b and target.value and hits(target, (a + b) / 2):
            yield Result(f"average of {first.text} and {second.text}", (first, second), strength * 0.7)
    if len(alike) <= 10:
        for some in combinations(alike, 3):
            by_size = sorted(some, key=lambda o: -number_of(target, o))
            value = (
                number_of(target, by_size[0]) - number_of(target, by_size[1]) - number_of(target, by_size[2])
            )
            if value > 0 and hits(target, value):
                yield Result(
                    f"{by_size[0].text} − {by_size[1].text} − {by_size[2].text}",
                    tuple(by_size),
                    strength * 0.8,
                )


_FACTORS = (
    (2.0, "2", "two"),
    (12.0, "12", "year"),
    (52.0, "52", "year"),
    (7.0, "7", "week"),
    (4.0, "4", "month"),
    (24.0, "24", "day"),
    (365.0, "365", "year"),
    (60.0, "60", "hour"),
    (5.0, "5", "week"),
    (30.0, "30", "month"),
)


def by_custom(target: Quantity, alike: list[Operand], cues: frozenset[str]) -> Iterator[Result]:
    """Both ways, twelve months, seven days: factors that words name without a number."""
    for factor, text, cue in _FACTORS:
        if cue not in cues or (factor != 2 and target.dimension in ("time", "month", "percent", "times")):
            continue
        for one in alike[:12]:
            if hits(target, number_of(target, one) * factor):
                yield Result(f"{text} × {one.text}", (one,), 0.8 if factor in (2, 12) else 0.6)
            elif hits(target, number_of(target, one) / factor):
                yield Result(f"{one.text} ÷ {text}", (one,), 0.75 if factor in (2, 12) else 0.6)
