"""What follows from values: the likeliest way in which an amount, a time or a date comes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from exllama_guard.grounding.facts.compare import intervals_of, without_per
from exllama_guard.grounding.facts.dates import Date
from exllama_guard.grounding.facts.evidence import Evidence
from exllama_guard.grounding.facts.moments import clock_from, date_from, durations
from exllama_guard.grounding.facts.operands import (
    LEAST_STRENGTH,
    MOST_OPERANDS,
    Operand,
    Result,
    adds_to,
    distinct,
    key_of_operand,
)
from exllama_guard.grounding.facts.products import products, ratios
from exllama_guard.grounding.facts.quantities import Quantity
from exllama_guard.grounding.facts.reading import Value
from exllama_guard.grounding.facts.sums import by_custom, columns, pairs, sums
from exllama_guard.grounding.facts.times import Clock


def derived(
    target: Value, own: Sequence[Operand], near: Sequence[Operand], cues: frozenset[str], evidence: Evidence
) -> Result | None:
    """How `target` follows from values of the statement and of the evidence near it, or None."""
    if isinstance(target, Quantity):
        return _amount(target, own, near, cues, evidence)
    if isinstance(target, Clock):
        return clock_from(target, [*own, *near])
    if isinstance(target, Date):
        return date_from(target, [*own, *near])
    return None


def _amount(
    target: Quantity,
    own: Sequence[Operand],
    near: Sequence[Operand],
    cues: frozenset[str],
    evidence: Evidence,
) -> Result | None:
    if target.per:
        target = without_per(target)
    target = replace(target, accepts=intervals_of(target))
    pool = list(own) + [
        o for o in near if not any(o.text == p.text and key_of_operand(o) == key_of_operand(p) for p in own)
    ]
    pool = distinct(pool)[:MOST_OPERANDS]
    best: Result | None = None
    for result in (*_ways(target, pool, cues), *columns(target, pool, evidence, cues)):
        strength = _strength(target, result)
        if strength >= LEAST_STRENGTH and (best is None or strength > best.strength):
            best = Result(result.formula, result.operands, strength)
    return best


def _strength(target: Quantity, result: Result) -> float:
    """How far an outcome may be meant, not hit by chance: operands that belong to the statement, a telling target."""
    belonging = sum(o.weight for o in result.operands) / len(result.operands)
    belonging = 0.5 * belonging + 0.5 * min(o.weight for o in result.operands)
    if len({o.snippet for o in result.operands if o.snippet}) > 1:
        belonging *= 0.7
    telling = min(1.0, 0.45 + 0.2 * len(str(abs(target.shown)).replace(".0", "").replace(".", "").strip("0")))
    if target.dimension and target.dimension != "percent":
        telling = min(1.0, telling + (0.05 if target.dimension == "times" else 0.15))
    return result.strength * (0.35 + 0.65 * belonging) * telling


def _ways(target: Quantity, pool: list[Operand], cues: frozenset[str]) -> Iterator[Result]:
    amounts = [o for o in pool if isinstance(o.value, Quantity) and not o.value.ordinal]
    alike = [o for o in amounts if adds_to(target, o)]
    yield from sums(target, alike, "sum" in cues)
    yield from pairs(target, alike, "difference" in cues)
    yield from products(target, amounts, bool(cues & {"times", "sum"}))
    yield from ratios(target, amounts, cues)
    yield from durations(target, pool)
    yield from by_custom(target, alike, cues)


def _t(target: Quantity) -> float:
    return target.shown * target.size if target.dimension == "temperature" else target.value
