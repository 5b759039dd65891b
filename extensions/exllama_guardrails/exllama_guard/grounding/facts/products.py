"""Products, rates, ratios and shares."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from exllama_guard.grounding.facts.compare import without_per
from exllama_guard.grounding.facts.operands import Operand, Result, adds_to, hits, number_of
from exllama_guard.grounding.facts.quantities import Quantity
from exllama_guard.grounding.facts.units import CURRENCIES


def products(target: Quantity, amounts: list[Operand], cued: bool) -> Iterator[Result]:
    """The ways in which `target` is a product or quotient of operands."""
    strength = 0.95 if cued else 0.8
    for first, second in combinations(amounts, 2):
        for one, other in ((first, second), (second, first)):
            yield from _product(target, one, other, strength)
    yield from _mixtures(target, amounts, strength)


def _product(target: Quantity, one: Operand, other: Operand, strength: float) -> Iterator[Result]:
    a, b = one.value, other.value
    if not isinstance(a, Quantity) or not isinstance(b, Quantity):
        return
    if b.dimension in ("percent",) and (
        a.dimension == target.dimension or not a.dimension or not target.dimension
    ):
        for factor, sign in ((b.value / 100, "×"), (1 - b.value / 100, "less"), (1 + b.value / 100, "plus")):
            if (
                b.value
                and (abs(b.value) >= 3 or not target.hedge)
                and hits(target, number_of(target, one) * factor)
            ):
                yield Result(f"{one.text} {sign} {other.text}", (one, other), strength)
    if b.dimension in ("", "times") and not b.in_range and abs(b.shown) != 1 and _matches(target, a):
        if hits(target, number_of(target, one) * b.shown):
            yield Result(f"{other.text} × {one.text}", (one, other), strength)
        if b.shown and abs(b.shown) > 1 and hits(target, number_of(target, one) / b.shown):
            yield Result(f"{one.text} ÷ {other.text}", (one, other), strength * 0.9)
    yield from _rates(target, one, other, strength)


def _matches(target: Quantity, other: Quantity) -> bool:
    return target.dimension == other.dimension or (target.dimension in CURRENCIES and other.dimension == "")


_PRODUCTS = {
    ("power", "time", "energy"): 1.0,
    ("speed", "time", "length"): 1.0,
    ("length", "length", "area"): 1.0,
    ("area", "length", "volume"): 1000.0,
}
_QUOTIENTS = frozenset(
    (
        ("length", "speed", "time"),
        ("energy", "power", "time"),
        ("energy", "time", "power"),
        ("length", "time", "speed"),
    )
)
_MONTHS_A_SECOND = 1 / (86400 * 30.4375)


def _rates(target: Quantity, one: Operand, other: Operand, strength: float) -> Iterator[Result]:
    """Rate × duration, power × time, speed × time, length × length, and the same for "per month"."""
    a, b = one.value, other.value
    if not isinstance(a, Quantity) or not isinstance(b, Quantity):
        return
    times = Result(f"{one.text} × {other.text}", (one, other), strength)
    parted = Result(f"{one.text} ÷ {other.text}", (one, other), strength)
    if _is_rate_of_time(target, a, b):
        yield times
    dimensions = (a.dimension, b.dimension, target.dimension)
    if dimensions in _PRODUCTS and hits(target, a.value * b.value * _PRODUCTS[dimensions]):
        yield times
    if dimensions in _QUOTIENTS and b.value and hits(target, a.value / b.value):
        yield parted
    if _is_how_long(target, a, b):
        yield parted
    if "thing:" in a.per and a.dimension == target.dimension and hits(target, a.value * b.shown):
        yield Result(f"{other.text} × {one.text}", (one, other), strength)
    yield from _by_bare_number(target, one, other, strength)


def _is_rate_of_time(target: Quantity, rate: Quantity, span: Quantity) -> bool:
    """Whether the target is a rate "per day" or "per month" over a span of time."""
    if (
        rate.dimension != target.dimension
        or not rate.per
        or span.dimension not in ("time", "month")
        or target.per
    ):
        return False
    per = rate.per.split()[-1]
    if per == span.dimension:
        return hits(target, rate.value * span.value)
    if per not in ("time", "month"):
        return False
    factor = _MONTHS_A_SECOND if per == "month" else 1 / _MONTHS_A_SECOND
    return hits(target, rate.value * span.value * factor)


def _is_how_long(target: Quantity, money: Quantity, rate: Quantity) -> bool:
    """Whether the target is the time in which a rate comes to an amount of money."""
    if money.dimension not in CURRENCIES or rate.dimension != money.dimension or not rate.value:
        return False
    return (
        rate.per in ("time", "month")
        and target.dimension == rate.per
        and hits(target, money.value / rate.value)
    )


def _by_bare_number(target: Quantity, one: Operand, other: Operand, strength: float) -> Iterator[Result]:
    """An amount times or by the number of another: 2 kg for each of 3 m, 60 euros for 3 hours."""
    a, b = one.value, other.value
    if (
        not isinstance(a, Quantity)
        or not isinstance(b, Quantity)
        or not target.dimension
        or target.dimension != a.dimension
    ):
        return
    number = number_of(target, one)
    if b.dimension in ("time", "month"):
        if a.per or b.shown <= 1:
            return
        if hits(target, a.value * b.shown):
            yield Result(f"{one.text} × {other.text}", (one, other), strength * 0.85)
        elif hits(target, a.value / b.shown):
            yield Result(f"{one.text} ÷ {other.text}", (one, other), strength * 0.85)
    elif (
        b.dimension not in ("", "percent", "times", a.dimension)
        and b.shown
        and hits(target, number * b.shown)
    ):
        yield Result(f"{one.text} × {other.text}", (one, other), strength * 0.8)
    elif (
        b.dimension not in ("", "percent", "times", a.dimension)
        and b.shown
        and hits(target, number / b.shown)
    ):
        yield Result(f"{one.text} ÷ {other.text}", (one, other), strength * 0.8)


def _mixtures(target: Quantity, amounts: list[Operand], strength: float) -> Iterator[Result]:
    """As in "2 × 14 + 5" and "3 × 4 × 2" from the operands that belong most."""
    usable = [o for o in amounts if _counts_or_adds(target, o)]
    numbers = [
        (o, number_of(target, o), o.value.shown if isinstance(o.value, Quantity) else 0.0) for o in usable[:9]
    ]
    for (a, x, _), (b, _, count), (c, z, third) in _triples(numbers):
        product = x * count
        if hits(target, product + z):
            yield Result(f"{b.text} × {a.text} + {c.text}", (a, b, c), strength * 0.72)
        elif hits(target, product - z) and product > z:
            yield Result(f"{b.text} × {a.text} − {c.text}", (a, b, c), strength * 0.7)
        elif hits(target, product * third) and abs(third) > 1:
            yield Result(f"{b.text} × {a.text} × {c.text}", (a, b, c), strength * 0.7)
    numbers = numbers[:6]
    for (a, x, _), (b, _, k), (c, z, _), (d, _, m) in _quadruples(numbers):
        if hits(target, x * k + z * m):
            yield Result(f"{b.text} × {a.text} + {d.text} × {c.text}", (a, b, c, d), strength * 0.68)


def _counts_or_adds(target: Quantity, one: Operand) -> bool:
    return isinstance(one.value, Quantity) and (one.value.dimension in ("", "times") or adds_to(target, one))


_Number = tuple[Operand, float, float]


def _triples(numbers: list[_Number]) -> Iterator[tuple[_Number, _Number, _Number]]:
    for a in numbers:
        for b in numbers:
            if (
                a is b
                or abs(b[2]) <= 1
                or (isinstance(b[0].value, Quantity) and b[0].value.dimension not in ("", "times"))
            ):
                continue
            for c in numbers:
                if c is not a and c is not b and c[1]:
                    yield a, b, c


def _quadruples(numbers: list[_Number]) -> Iterator[tuple[_Number, _Number, _Number, _Number]]:
    counts = [
        n
        for n in numbers
        if isinstance(n[0].value, Quantity) and n[0].value.dimension in ("", "times") and n[2] >= 1
    ]
    for a, c in combinations(numbers, 2):
        for b in counts:
            for d in counts:
                if len({id(a), id(b), id(c), id(d)}) == 4:
                    yield a, b, c, d


def ratios(target: Quantity, amounts: list[Operand], cues: frozenset[str]) -> Iterator[Result]:
    """The ways in which `target` is a ratio, a share or a change in percent of two operands."""
    if target.dimension not in ("percent", "times", "", "points"):
        return
    if "times" not in cues and target.dimension == "":
        return
    for first, second in combinations(amounts, 2):
        a, b = first.value, second.value
        if (
            not isinstance(a, Quantity)
            or not isinstance(b, Quantity)
            or a.dimension != b.dimension
            or not a.value
            or not b.value
        ):
            continue
        if a.per != b.per:
            a, b = without_per(a), without_per(b)
        high, low = (first, second) if abs(a.value) > abs(b.value) else (second, first)
        x, y = max(abs(a.value), abs(b.value)), min(abs(a.value), abs(b.value))
        if target.dimension in ("percent", "points"):
            for value, form, not_for in (
                (100 * y / x, "{1} of {0}", "grows"),
                (100 * (x - y) / x, "from {0} to {1}", "grows"),
                (100 * (x - y) / y, "from {1} to {0}", "shrinks"),
                (100 * x / y, "{0} of {1}", "shrinks"),
            ):
                if not (not_for in cues and len(cues & {"grows", "shrinks"}) == 1) and hits(target, value):
                    yield Result(form.format(high.text, low.text), (first, second), 0.9)
        elif y and hits(target, x / y):
            yield Result(f"{high.text} ÷ {low.text}", (first, second), 0.9)
