"""Values to compute with, and whether an outcome is the value that was looked for."""

from __future__ import annotations

from dataclasses import dataclass

from exllama_guard.grounding.facts.compare import without_per
from exllama_guard.grounding.facts.evidence import Mention
from exllama_guard.grounding.facts.quantities import Quantity
from exllama_guard.grounding.facts.reading import Value
from exllama_guard.grounding.facts.units import CURRENCIES, measure_of

MOST_OPERANDS = 26


LEAST_STRENGTH = 0.5  # below it an outcome is taken for a chance hit


@dataclass(frozen=True, slots=True)
class Operand:
    """A value to compute with and where it is from: its text, and the mention, or None where the answer has it."""

    value: Value
    text: str
    mention: Mention | None
    weight: float  # how far it belongs to the statement, in [0, 1]
    snippet: str = ""
    own: bool = False  # the statement itself has it


@dataclass(frozen=True, slots=True)
class Result:
    """How a value comes out: the sum as a person would write it, and what went into it."""

    formula: str
    operands: tuple[Operand, ...]
    strength: float


def distinct(pool: list[Operand]) -> list[Operand]:
    """Each value once: what the statement repeats of the evidence is no second amount."""
    out: list[Operand] = []
    own = [o.value for o in pool if o.own and isinstance(o.value, Quantity)]
    keys: set[tuple[int, int]] = set()
    for one in pool:
        key = key_of_operand(one)
        repeated = (
            not one.own
            and isinstance(one.value, Quantity)
            and any(v.dimension == one.value.dimension and v.value == one.value.value for v in own)
        )
        if repeated or (not one.own and key in keys):
            continue
        if key is not None:
            keys.add(key)
        out.append(one)
    return out


def key_of_operand(one: Operand) -> tuple[int, int] | None:
    """Where an operand of the evidence begins."""
    return one.mention.key if one.mention else None


def adds_to(target: Quantity, operand: Operand) -> bool:
    """Whether an operand may be added to reach `target`: one dimension, or a bare number beside money."""
    other = operand.value
    if not isinstance(other, Quantity):
        return False
    a, b = target.dimension, other.dimension
    return (
        a == b
        or {a, b} <= {"percent", "points"}
        or {a, b} == {"", "times"}
        or {a, b} == {"angle", "temperature"}
        or (
            b == ""
            and bool(other.shown)
            and (
                a in CURRENCIES
                or (operand.own and not other.nouns)
                or (operand.mention is not None and operand.mention.spot is not None)
            )
        )
        or (a == "" and not target.nouns and b != "percent")
    )


def number_of(target: Quantity, one: Operand) -> float:
    """An operand in the base unit of the target; differences of temperatures drop their zero."""
    value = one.value
    if not isinstance(value, Quantity):
        return 0.0
    if value.dimension == target.dimension and target.dimension != "temperature":
        return without_per(value).value if value.per else value.value
    if value.dimension:
        return value.shown
    measure = measure_of(target.unit) if target.unit else None
    scaled = (
        value.readings[-1]
        if value.readings[-1] in (1e6 * value.readings[0], 1e9 * value.readings[0])
        else value.shown
    )
    return scaled * (measure.factor if measure else 1.0)


def hits(target: Quantity, value: float) -> bool:
    """Whether an outcome is `target` as it is written; `target.accepts` is filled."""
    if target.dimension == "temperature":
        slack = 1e-6 + (0.05 * abs(value) if target.hedge else 0)
        return abs(target.shown * target.size - value) < slack
    if value < 0 < target.readings[0]:
        value = -value
    for low, high in target.accepts:  # noqa: SIM110 - called a hundred thousand times an answer
        if low <= value <= high:
            return True
    return False
