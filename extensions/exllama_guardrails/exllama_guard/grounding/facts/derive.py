"""What follows from values: sums, differences, products, ratios, shares, averages, durations, counts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations

from exllama_guard.grounding.facts.compare import close, intervals_of, without_per
from exllama_guard.grounding.facts.dates import Date, moved
from exllama_guard.grounding.facts.evidence import Evidence, Mention
from exllama_guard.grounding.facts.quantities import Quantity
from exllama_guard.grounding.facts.reading import Value
from exllama_guard.grounding.facts.times import Clock
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


_CUES = {
    "sum": r"total|altogether|combined|together|in all|sum|overall|all told|plus|adds? up|adding|added up|both|zusammen|insgesamt|gesamt|summe|au total|en tout|ensemble|"
           r"en total|suma|juntos|in totale|somma|complessivamente|no total|soma|ao todo|всего|итого|вместе|сумм|总共|一共|合计|共计|総|合計|全部で|إجمالي|المجموع|مجموع|कुल|samen|totaal|start to finish|makes|come to|comes to|each|from .{1,30} (?:to|until)",
    "difference": r"differen|more|less|fewer|longer|shorter|cheaper|dearer|higher|lower|faster|slower|quicker|older|younger|gap|ahead|behind|by|rise|rose|fall|fell|drop|increase|decrease|"
           r"saves?|saving|remain|left|still|after|until|gain|lead|margin|extra|further|additional|over|under|short|lost|net|minus|off|spare|rest|without|not|other|already|between|change|beat|outscore|"
           r"mehr|weniger|günstiger|teurer|unterschied|länger|kürzer|gespart|übrig|différence|moins|reste|hausse|diferencia|más|menos|ahorr|differenza|più|meno|risparmi|diferença|mais|poup|"
           r"разниц|меньше|больше|дешевле|дороже|быстрее|осталось|差|多|少|便宜|剩|増|減|安|فرق|أقل|أكثر|कम|ज़्यादा|अधिक|बचत|deducted|discount|reduced|old|aged?|age|late|early|older",
    "times": r"times|twice|double|triple|quadruple|half|halved|fold|as (?:much|many|long|high|far|big)|third|quarter|ratio|per|each|every|average|mean|rate|share|percent|%|proportion|out of|"
           r"doppelt|mal|fach|fois|moitié|veces|doble|mitad|volte|doppio|metà|vezes|dobro|metade|вдвое|втрое|раз|倍|半|ضعف|गुना|durchschnitt|moyenne|promedio|media|média|средн|平均|औसत|متوسط|pro|je|par|al|por|за|one in|fifth",
}  # fmt: skip
_CUES |= {
    "grows": r"up|rose|rise\w*|increas\w+|grew|grown|growth|more|higher|raised?|gain\w*|plus|surcharge|dearer|longer|hausse|plus cher|aument\w+|gestiegen|mehr|рост|выросл\w+|больше",
    "shrinks": r"down|fell|fall\w*|drop\w*|cut|less|fewer|decreas\w+|lower\w*|cheaper|discount\w*|off|sav\w+|shrank|shorter|reduc\w+|baisse|moins|menos|meno|gesunken|weniger|günstiger|дешевле|меньше",
    "two": r"each way|both|return|round.?trip|there and back|pair|couple|two|double|twice|doubl\w+|half|halv\w+|other half|either way|hin und zurück|aller.retour|ida y vuelta|andata e ritorno|ida e volta|туда и обратно|往復|来回",
    "year": r"years?|annual\w*|yearly|a year|per annum|jahr\w*|jährlich|an(?:née)?s?|año|anno|ano|год\w*|年|سنة|साल|वर्ष|months?",
    "month": r"months?|monthly|monat\w*|mois|mes(?:es)?|mese|mês|месяц\w*|月|شهر|महीन\w+",
    "week": r"weeks?|weekly|woche\w*|semaine|semana|settimana|недел\w+|周|週|أسبوع|हफ़्ते|days?|daily",
    "day": r"days?|daily|24|tage?|jours?|día|giorno|dia|день|天|日|يوم|दिन",
    "hour": r"hours?|hourly|minutes?|stunden?|heures?",
}  # fmt: skip
_STRONG = re.compile(
    r"\b(?:total|altogether|combined|together|in all|sum|differen\w+|more than|less than|fewer|longer|shorter|cheaper|saves?|saving|remain\w*|left|net|gain|each way|"
    r"average|works? out|comes? to|adds? up|double|twice|times|half|later|earlier|insgesamt|zusammen|gesamt|günstiger|au total|en tout|en total|in totale|no total|всего|итого|дешевле|合計|总共|一共|共計|إجمالي|कुल|in meno|moins|menos)\b|合計|总共|一共",
    re.IGNORECASE,
)


def asks_for_a_sum(text: str) -> bool:
    """Whether plain words of a statement or question ask for a result, not for a value that stands somewhere."""
    return _STRONG.search(text) is not None


_CUE = {
    name: re.compile(words if name not in ("grows", "shrinks") else rf"\b(?:{words})\b", re.IGNORECASE)
    for name, words in _CUES.items()
}


def cues_of(text: str) -> frozenset[str]:
    """Which kinds of arithmetic the words of a statement ask for."""
    return frozenset(name for name, pattern in _CUE.items() if pattern.search(text))


def derived(
    target: Value, own: Sequence[Operand], near: Sequence[Operand], cues: frozenset[str], evidence: Evidence
) -> Result | None:
    """How `target` follows from values of the statement and of the evidence near it, or None."""
    if isinstance(target, Quantity):
        return _amount(target, own, near, cues, evidence)
    if isinstance(target, Clock):
        return _clock(target, [*own, *near])
    if isinstance(target, Date):
        return _date(target, [*own, *near])
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
    pool = list(own) + [o for o in near if not any(o.text == p.text and _key(o) == _key(p) for p in own)]
    pool = _distinct(pool)[:MOST_OPERANDS]
    best: Result | None = None
    for result in (*_ways(target, pool, cues), *_columns(target, pool, evidence, cues)):
        strength = _strength(target, result)
        if strength >= LEAST_STRENGTH and (best is None or strength > best.strength):
            best = Result(result.formula, result.operands, strength)
    return best


def _distinct(pool: list[Operand]) -> list[Operand]:
    """Each value once: what the statement repeats of the evidence is no second amount."""
    out: list[Operand] = []
    own = [o.value for o in pool if o.own and isinstance(o.value, Quantity)]
    keys: set[tuple[int, int]] = set()
    for one in pool:
        key = _key(one)
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


def _key(one: Operand) -> tuple[int, int] | None:
    return one.mention.key if one.mention else None


def _strength(target: Quantity, result: Result) -> float:
    """How far an outcome may be meant, not hit by chance: operands that belong to the statement, a telling target."""
    belonging = sum(o.weight for o in result.operands) / len(result.operands)
    belonging = 0.5 * belonging + 0.5 * min(o.weight for o in result.operands)
    if len({o.snippet for o in result.operands if o.snippet}) > 1:
        belonging *= 0.7
    telling = min(1.0, 0.45 + 0.2 * len(str(abs(target.shown)).replace(".0", "").replace(".", "").strip("0")))
    if target.dimension and target.dimension not in ("times", "percent"):
        telling = min(1.0, telling + 0.15)
    return result.strength * (0.35 + 0.65 * belonging) * telling


def _ways(target: Quantity, pool: list[Operand], cues: frozenset[str]) -> Iterator[Result]:
    amounts = [o for o in pool if isinstance(o.value, Quantity) and not o.value.ordinal]
    alike = [o for o in amounts if _adds(target, o)]
    yield from _sums(target, alike, "sum" in cues)
    yield from _pairs(target, alike, "difference" in cues)
    yield from _products(target, amounts, bool(cues & {"times", "sum"}))
    yield from _ratios(target, amounts, cues)
    yield from _durations(target, pool)
    yield from _by_custom(target, alike, cues)


def _adds(target: Quantity, operand: Operand) -> bool:
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


def _n(target: Quantity, one: Operand) -> float:
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


def _t(target: Quantity) -> float:
    return target.shown * target.size if target.dimension == "temperature" else target.value


def _hit(target: Quantity, value: float) -> bool:
    if target.dimension == "temperature":
        return abs(target.shown * target.size - value) < 1e-6 + (0.05 * abs(value) if target.hedge else 0)
    value = -value if target.value > 0 > value else value
    return any(low <= value <= high for low, high in _ranges(target))


@lru_cache(maxsize=256)
def _ranges(target: Quantity) -> tuple[tuple[float, float], ...]:
    return intervals_of(target)


def _sums(target: Quantity, alike: list[Operand], cued: bool) -> Iterator[Result]:
    strength = 1.0 if cued else 0.75
    for size in (2, 3):
        chosen = alike if size == 2 else alike[:14]
        for some in combinations(chosen, size):
            if _hit(target, sum(_n(target, o) for o in some)):
                yield Result(
                    " + ".join(o.text for o in some), some, strength if size == 2 else strength * 0.95
                )
    yield from _runs(target, alike, strength)
    if len(alike) <= 9:
        for size in (4, 5, 6):
            for some in combinations(alike, size):
                if _hit(target, sum(_n(target, o) for o in some)):
                    yield Result(" + ".join(o.text for o in some), some, strength * 0.8)
    for first, second in combinations(alike[:10], 2):
        for one, other in ((first, second), (second, first)):
            if one.own and other.own and _hit(target, _n(target, one) + 2 * _n(target, other)):
                yield Result(f"{one.text} + 2 × {other.text}", (one, other), strength * 0.85)
    for some in combinations(alike[:10], 3):
        for index in range(3):
            value = sum(_n(target, o) for o in some) - 2 * _n(target, some[index])
            if value > 0 and _hit(target, value):
                rest = [o for i, o in enumerate(some) if i != index]
                yield Result(f"{rest[0].text} + {rest[1].text} − {some[index].text}", some, strength * 0.75)


def _runs(target: Quantity, alike: list[Operand], strength: float) -> Iterator[Result]:
    """Sums of neighbours: the rows of a column, the items of a list, the amounts of a sentence."""
    for line in _lines(alike):
        yield from _runs_of(target, line, strength)


def _runs_of(target: Quantity, line: list[Operand], strength: float) -> Iterator[Result]:
    numbers = [_n(target, one) for one in line]
    for low in range(len(line)):
        total = numbers[low]
        for high in range(low + 1, min(len(line), low + 24)):
            total += numbers[high]
            whole = high - low + 1 == len(line)
            if high - low >= 2 and _hit(target, total):
                some = tuple(line[low : high + 1])
                shown = " + ".join(o.text for o in some[:6]) + (" + …" if len(some) > 6 else "")
                yield Result(shown, some, strength if whole or low == 0 else strength * 0.8)
            if whole and _hit(target, total / len(line)):
                yield Result(f"average of {', '.join(o.text for o in line[:8])}", tuple(line), strength)


def _columns(
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
            if _adds(target, one):
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


def _pairs(target: Quantity, alike: list[Operand], cued: bool) -> Iterator[Result]:
    strength = 1.0 if cued else 0.7
    for first, second in combinations(alike, 2):
        a, b = _n(target, first), _n(target, second)
        high, low = (first, second) if a >= b else (second, first)
        if a != b and _hit(target, abs(a - b)):
            yield Result(f"{high.text} − {low.text}", (high, low), strength)
        if a != b and target.value and _hit(target, (a + b) / 2):
            yield Result(f"average of {first.text} and {second.text}", (first, second), strength * 0.7)
    if len(alike) <= 10:
        for some in combinations(alike, 3):
            by_size = sorted(some, key=lambda o: -_n(target, o))
            value = _n(target, by_size[0]) - _n(target, by_size[1]) - _n(target, by_size[2])
            if value > 0 and _hit(target, value):
                yield Result(
                    f"{by_size[0].text} − {by_size[1].text} − {by_size[2].text}",
                    tuple(by_size),
                    strength * 0.8,
                )


def _products(target: Quantity, amounts: list[Operand], cued: bool) -> Iterator[Result]:
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
            if b.value and (abs(b.value) >= 3 or not target.hedge) and _hit(target, _n(target, one) * factor):
                yield Result(f"{one.text} {sign} {other.text}", (one, other), strength)
    if b.dimension in ("", "times") and not b.in_range and abs(b.shown) != 1 and _matches(target, a):
        if _hit(target, _n(target, one) * b.shown):
            yield Result(f"{b_text(other)} × {one.text}", (one, other), strength)
        if b.shown and abs(b.shown) > 1 and _hit(target, _n(target, one) / b.shown):
            yield Result(f"{one.text} ÷ {b_text(other)}", (one, other), strength * 0.9)
    yield from _rates(target, one, other, strength)


def b_text(one: Operand) -> str:
    """The text of an operand."""
    return one.text


def _matches(target: Quantity, other: Quantity) -> bool:
    return target.dimension == other.dimension or (target.dimension in CURRENCIES and other.dimension == "")


def _rates(target: Quantity, one: Operand, other: Operand, strength: float) -> Iterator[Result]:
    """Rate × duration, power × time, speed × time, length × length, and the same for "per month"."""
    a, b = one.value, other.value
    if not isinstance(a, Quantity) or not isinstance(b, Quantity):
        return
    months_a_day = 1 / (86400 * 30.4375)
    if a.dimension == target.dimension and a.per and b.dimension in ("time", "month"):
        per = a.per.split()[-1]
        amount = (
            b.value
            if per == b.dimension
            else b.value * months_a_day
            if per == "month"
            else b.value / months_a_day
        )
        if (
            (per == b.dimension or per in ("time", "month"))
            and not target.per
            and _hit(target, a.value * amount)
        ):
            yield Result(f"{one.text} × {other.text}", (one, other), strength)
    dims = (a.dimension, b.dimension, target.dimension)
    if dims in (
        ("power", "time", "energy"),
        ("speed", "time", "length"),
        ("length", "length", "area"),
        ("area", "length", "volume"),
    ):
        factor = 1000.0 if dims[2] == "volume" else 1.0
        if _hit(target, a.value * b.value * factor):
            yield Result(f"{one.text} × {other.text}", (one, other), strength)
    quotient = (
        ("length", "speed", "time"),
        ("energy", "power", "time"),
        ("energy", "time", "power"),
        ("length", "time", "speed"),
    )
    if dims in quotient and b.value and _hit(target, a.value / b.value):
        yield Result(f"{one.text} ÷ {other.text}", (one, other), strength)
    if a.dimension and a.dimension == b.dimension and target.dimension == "" and b.value:
        return
    if (
        a.dimension in CURRENCIES
        and b.dimension == a.dimension
        and b.per in ("time", "month")
        and target.dimension == b.per
        and b.value
    ):
        if _hit(target, a.value / b.value):
            yield Result(f"{one.text} ÷ {other.text}", (one, other), strength)
    if "thing:" in a.per and a.dimension == target.dimension and _hit(target, a.value * b.shown):
        yield Result(f"{other.text} × {one.text}", (one, other), strength)
    if (
        a.dimension != b.dimension
        and target.dimension
        and target.dimension == a.dimension
        and b.dimension not in ("", "percent", "time", "month", "times")
    ):
        if _hit(target, _n(target, one) * b.shown) or (b.shown and _hit(target, _n(target, one) / b.shown)):
            yield Result(f"{one.text} × {other.text}", (one, other), strength * 0.8)
    if a.dimension == target.dimension and b.dimension in ("time", "month") and not a.per and b.shown > 1:
        if _hit(target, a.value * b.shown):
            yield Result(f"{one.text} × {other.text}", (one, other), strength * 0.85)
        elif _hit(target, a.value / b.shown) or (target.per and _hit(target, a.value / b.value)):
            yield Result(f"{one.text} ÷ {other.text}", (one, other), strength * 0.85)


def _mixtures(target: Quantity, amounts: list[Operand], strength: float) -> Iterator[Result]:
    """ "2 × 14 + 5" and "3 × 4 × 2" from the operands that belong most."""
    usable = [o for o in amounts if _counts_or_adds(target, o)]
    numbers = [
        (o, _n(target, o), o.value.shown if isinstance(o.value, Quantity) else 0.0) for o in usable[:9]
    ]
    for (a, x, _), (b, _, count), (c, z, third) in _triples(numbers):
        product = x * count
        if _hit(target, product + z):
            yield Result(f"{b.text} × {a.text} + {c.text}", (a, b, c), strength * 0.72)
        elif _hit(target, product - z) and product > z:
            yield Result(f"{b.text} × {a.text} − {c.text}", (a, b, c), strength * 0.7)
        elif _hit(target, product * third) and abs(third) > 1:
            yield Result(f"{b.text} × {a.text} × {c.text}", (a, b, c), strength * 0.7)
    numbers = numbers[:7]
    for (a, x, _), (b, _, k), (c, z, _), (d, _, m) in _quadruples(numbers):
        if _hit(target, x * k + z * m):
            yield Result(f"{b.text} × {a.text} + {d.text} × {c.text}", (a, b, c, d), strength * 0.68)


def _counts_or_adds(target: Quantity, one: Operand) -> bool:
    return isinstance(one.value, Quantity) and (one.value.dimension in ("", "times") or _adds(target, one))


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


def _ratios(target: Quantity, amounts: list[Operand], cues: frozenset[str]) -> Iterator[Result]:
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
                if not (not_for in cues and len(cues & {"grows", "shrinks"}) == 1) and _hit(target, value):
                    yield Result(form.format(high.text, low.text), (first, second), 0.9)
        elif y and _hit(target, x / y):
            yield Result(f"{high.text} ÷ {low.text}", (first, second), 0.9)


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


def _by_custom(target: Quantity, alike: list[Operand], cues: frozenset[str]) -> Iterator[Result]:
    """Both ways, twelve months, seven days: factors that words name without a number."""
    for factor, text, cue in _FACTORS:
        if cue not in cues or (factor != 2 and target.dimension in ("time", "month", "percent", "times")):
            continue
        for one in alike[:12]:
            if _hit(target, _n(target, one) * factor):
                yield Result(f"{text} × {one.text}", (one,), 0.8 if factor in (2, 12) else 0.6)
            elif _hit(target, _n(target, one) / factor):
                yield Result(f"{one.text} ÷ {text}", (one,), 0.75 if factor in (2, 12) else 0.6)


def _durations(target: Quantity, pool: list[Operand]) -> Iterator[Result]:
    if target.dimension not in ("time", "month", ""):
        return
    clocks = [one for one in map(_as_clock, pool) if one is not None]
    for first, second in combinations(clocks, 2):
        a, b = first.value, second.value
        if not isinstance(a, Clock) or not isinstance(b, Clock) or target.dimension == "month":
            continue
        gap = round(abs(a.minutes - b.minutes), 7)
        for value in (gap, 1440 - gap, abs(gap - 720)):
            if value and any(
                close(r, value * 60 if target.dimension else value / 60, target) for r in target.readings
            ):
                low, high = (first, second) if a.minutes <= b.minutes else (second, first)
                yield Result(f"from {low.text} to {high.text}", (first, second), 1.0 if value == gap else 0.8)
    days = [o for o in pool if isinstance(o.value, Date)]
    for first, second in combinations(days, 2):
        if _between(target, first, second):
            yield Result(f"from {first.text} to {second.text}", (first, second), 1.0)


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


def _clock(target: Clock, pool: Sequence[Operand]) -> Result | None:
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


def _date(target: Date, pool: Sequence[Operand]) -> Result | None:
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
