"""Whether a value of an answer and one of the evidence are the same, or stand in the same kind of place."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from exllama_guard.grounding.facts.dates import Date
from exllama_guard.grounding.facts.identifiers import Token
from exllama_guard.grounding.facts.quantities import Quantity
from exllama_guard.grounding.facts.reading import Value
from exllama_guard.grounding.facts.times import Clock
from exllama_guard.grounding.facts.units import CURRENCIES, measure_of

_DAYS_A_MONTH = 30.4375
_ABOUT, _ABOUT_MOST, _BESIDE = 0.05, 0.12, 0.12
_DEGREE = 1.0  # kelvin that "about" leaves a temperature
_SHARES = frozenset(("percent", "points", "permille"))
_DOWN = re.compile(
    r"\b(?:down|fell|fall(?:s|en)?|drop(?:s|ped)?|decreas\w*|declin\w*|loss\w*|lost|lower\w*|less|fewer|below|minus|negative|deficit|"
    r"overdrawn|owed?|debt|reduc\w*|shrank|shrunk|shrink\w*|over|overspen\w*|overrun\w*|overran|exce\w+|above|more|cheaper|colder|behind|short\w*|under|cut|off|discount\w*|refund\w*|"
    r"gesunken|niedriger|weniger|baisse|moins|menos|meno|ниже|меньше|дешевле|下降|减少|低)\b",
    re.IGNORECASE,
)


def same(mine: Value, theirs: Value) -> bool:
    """Whether both may stand for one thing: equal, or equal when rounded as the answer rounds."""
    if isinstance(mine, Token) or isinstance(theirs, Token):
        return _same_token(mine, theirs)
    if isinstance(mine, Clock) and isinstance(theirs, Clock):
        return mine.same(theirs)
    if isinstance(mine, Date) and isinstance(theirs, Date):
        return mine.shares(theirs) and not mine.clashes(theirs)
    if isinstance(mine, Quantity) and isinstance(theirs, Quantity):
        return _same_amount(mine, theirs)
    return _same_across(mine, theirs)


def is_loose(mine: Value, theirs: Value) -> bool:
    """Whether two equal values agree in their number only: a bare one beside one with a unit or of another thing."""
    if isinstance(mine, Quantity) and isinstance(theirs, Quantity):
        if mine.dimension != theirs.dimension:
            return "" in (mine.dimension, theirs.dimension) and not (
                mine.dimension == "times" and theirs.nouns[:1] == ("time",)
            )
        if not mine.dimension:
            if mine.nouns and theirs.nouns:
                return not set(mine.nouns[:3]) & set(theirs.nouns[:3])
            return bool(mine.nouns) and not theirs.in_words
        return False
    return type(mine) is not type(theirs)


def _same_token(mine: Value, theirs: Value) -> bool:
    if isinstance(mine, Token) and isinstance(theirs, Token):
        return mine.key == theirs.key or mine.key.casefold().strip("()") == theirs.key.casefold().strip("()")
    token, other = (mine, theirs) if isinstance(mine, Token) else (theirs, mine)
    if (
        not isinstance(token, Token)
        or not token.shape.startswith("labelled")
        or not isinstance(other, Quantity)
    ):
        return False
    return token.key == str(int(other.shown)) and not other.dimension


def _same_across(mine: Value, theirs: Value) -> bool:
    """A bare number beside an hour, a year or a day of a month."""
    if isinstance(theirs, Quantity):
        mine, theirs = theirs, mine
    if not isinstance(mine, Quantity) or (
        mine.dimension and not (isinstance(theirs, Clock) and mine.dimension == "time")
    ):
        return False
    if mine.ordinal and isinstance(theirs, Date):
        return mine.readings[0] == theirs.day
    if mine.nouns and not isinstance(theirs, Clock):
        return isinstance(theirs, Date) and mine.readings[0] == theirs.year
    if isinstance(theirs, Clock):
        if mine.dimension == "time":
            return abs(mine.readings[0] / 60 - theirs.minutes) < 1e-6 and theirs.minutes > 24
        return (
            not mine.nouns
            and mine.readings[0] == int(mine.readings[0])
            and mine.readings[0] * 60 in (theirs.minutes, theirs.minutes - 720)
        )
    if isinstance(theirs, Date):
        return mine.readings[0] in (theirs.year, theirs.day)
    return False


def _same_amount(mine: Quantity, theirs: Quantity) -> bool:
    a, b = mine.dimension, theirs.dimension
    if mine.ordinal != theirs.ordinal and (a or b) and "time" not in (a, b):
        return False
    if _unit_is_of_the_head(theirs) and _shown_fits(mine, theirs, bare=True):
        return True
    if a == b:
        return _same_in_base(mine, theirs)
    if {a, b} <= _SHARES:
        return any(close(x, y, mine) for x in _shares_of(mine) for y in _shares_of(theirs))
    if {a, b} == {"time", "month"}:
        return _months_and_days(mine, theirs)
    return _odd_pair(mine, theirs) or _same_number(mine, theirs)


def _unit_is_of_the_head(one: Quantity) -> bool:
    """Whether a cell shows no unit: it was only taken from the head of its column."""
    return bool(one.unit) and not any(c.isalpha() or c in "%°€$£¥₹" for c in one.text)


def _same_in_base(mine: Quantity, theirs: Quantity) -> bool:
    if bool(mine.per) != bool(theirs.per):
        mine, theirs = without_per(mine), without_per(theirs)
    return _per_fits(mine, theirs) and any(close(x, y, mine) for x in mine.readings for y in theirs.readings)


def _shares_of(one: Quantity) -> tuple[float, ...]:
    """In percent."""
    return tuple(r * 0.1 if one.dimension == "permille" else r for r in one.readings)


def _odd_pair(mine: Quantity, theirs: Quantity) -> bool:
    """Ways to write that look like something else: "1m" for a minute, 0.5 for 50 %."""
    if mine.dimension == "time" and theirs.dimension == "length":
        return theirs.text.endswith("m") and mine.value == 60 * theirs.shown
    if mine.dimension == "percent" and not theirs.dimension and "." in theirs.text:
        return 0 < theirs.shown <= 1 and abs(theirs.shown * 100 - mine.shown) < 1e-9
    return False


def _same_number(mine: Quantity, theirs: Quantity) -> bool:
    """The numbers alone, where one of both has no unit or both have kinds of one."""
    a, b = mine.dimension, theirs.dimension
    if "" not in (a, b) and {a, b} != {"angle", "temperature"}:
        return False
    of_another_thing = (
        not a and b not in ("times", "percent") and not mine.in_range and len((*mine.nouns, "")[0]) > 2
    )
    if of_another_thing and mine.nouns[0] not in theirs.nouns:
        return False
    return _shown_fits(mine, theirs)


@lru_cache(maxsize=1024)
def without_per(one: Quantity) -> Quantity:
    """The amount alone: "17 euros a night" as 17 euros."""
    if not one.per:
        return one
    measure = measure_of(one.unit) if one.unit else None
    size = measure.factor if measure else 1.0
    return replace(
        one, readings=(one.shown * size,), step=one.step / (one.size or 1.0) * size, size=size, per=""
    )


def _shown_fits(mine: Quantity, theirs: Quantity, *, bare: bool = False) -> bool:
    mine_all = mine.readings if mine.dimension == "" else (mine.shown,)
    their_all = theirs.readings if theirs.dimension == "" and not bare else (theirs.shown,)
    if bare:
        mine_all = (mine.shown,)
    if mine.unit == "share" or theirs.unit == "share":
        return False
    return any(close(x, y, mine, shown=True) for x in mine_all for y in their_all)


def _per_fits(mine: Quantity, theirs: Quantity) -> bool:
    """One of both may leave out what it is per; times must be times and things the same thing."""
    if not mine.per or not theirs.per or mine.per == theirs.per:
        return True
    return "thing:" in mine.per and "thing:" in theirs.per and mine.per.split()[1:] == theirs.per.split()[1:]


def _months_and_days(mine: Quantity, theirs: Quantity) -> bool:
    days = [q.value * _DAYS_A_MONTH if q.dimension == "month" else q.value / 86400 for q in (mine, theirs)]
    slack = 0.05 if mine.hedge else 0.02
    return days[1] != 0 and abs(days[0] / days[1] - 1) <= slack


def close(mine: float, theirs: float, written: Quantity, *, shown: bool = False) -> bool:
    """Whether a value may stand for another as it is written: exactly, rounded to its last digit, or as roughly as it says."""
    if mine == theirs or abs(mine - theirs) <= 1e-9 * max(abs(mine), abs(theirs)):
        return True
    if written.dimension == "data" and not shown and theirs and _thousands_of_two(mine / theirs):
        return True
    if written.ordinal or mine * theirs < 0 or theirs == 0:
        return False
    gap = abs(mine - theirs)
    if written.dimension == "temperature" and not shown:
        return bool(written.hedge) and gap <= _DEGREE
    if written.hedge == "under":
        return abs(theirs) < abs(mine) and gap <= _BESIDE * abs(mine)
    if written.hedge == "over":
        return abs(theirs) > abs(mine) and gap <= _BESIDE * abs(mine)
    step = written.step / (written.size or 1.0) if shown else written.step
    if written.hedge == "about":
        last = _last_place(mine, written, step)
        return gap <= max(_ABOUT * abs(theirs), min(last / 2, _ABOUT_MOST * abs(theirs)))
    if written.digits < 2 or written.dimension == "temperature":
        return False
    return step > 0 and gap <= step / 2 * 1.0001 and not _is_whole(mine, written)


def intervals_of(target: Quantity) -> tuple[tuple[float, float], ...]:
    """The ranges of values that `close` takes for `target`, for many quick looks."""
    out = []
    for mine in target.readings:
        size = abs(mine)
        ranges = [(size * (1 - 1e-9), size * (1 + 1e-9))]
        if target.ordinal:
            pass
        elif target.hedge == "under":
            ranges.append((size * (1 - _BESIDE), size))
        elif target.hedge == "over":
            ranges.append((size, size * (1 + _BESIDE)))
        elif target.hedge == "about":
            last = _last_place(mine, target, target.step)
            ranges.append((size / (1 + _ABOUT), size / (1 - _ABOUT)))
            ranges.append(
                (
                    max(size - last / 2, size / (1 + _ABOUT_MOST)),
                    min(size + last / 2, size / (1 - _ABOUT_MOST)),
                )
            )
        elif target.digits >= 2 and target.step > 0 and not _is_whole(mine, target):
            ranges.append((size - target.step / 2 * 1.0001, size + target.step / 2 * 1.0001))
        out += ranges if mine >= 0 else [(-high, -low) for low, high in ranges]
    return tuple(out)


def _last_place(value: float, written: Quantity, step: float) -> float:
    """The place of the last digit that is not a closing zero, in base units."""
    zeros = 1.0
    if step:
        shown = abs(value) / step
        while zeros < 1e12 and shown and shown % (zeros * 10) == 0:
            zeros *= 10
    return step * zeros


def _is_whole(value: float, written: Quantity) -> bool:
    """A plain whole number is no rounded one unless it says so."""
    return (
        "." not in written.text
        and "," not in written.text
        and not re.search(r"[^\W\d_]{3,}|M|bn", written.text.partition(" ")[2][:0] or "")
        and written.step >= (written.size or 1.0)
    )


def _thousands_of_two(ratio: float) -> bool:
    return any(abs(ratio / f - 1) < 1e-3 or abs(ratio * f - 1) < 1e-3 for f in (1.024, 1.048576, 1.073741824))


def same_but_sign(mine: Value, theirs: Value, statement: str) -> bool:
    """Whether the amounts differ in nothing but their sign; a fall may be told without one."""
    if not isinstance(mine, Quantity) or not isinstance(theirs, Quantity):
        return False
    if "temperature" in (mine.dimension, theirs.dimension):
        return False
    return _sign_differs(mine, theirs) and mine.shown > 0 and _DOWN.search(statement) is not None


def _sign_differs(mine: Quantity, theirs: Quantity) -> bool:
    fits = mine.dimension == theirs.dimension or "" in (mine.dimension, theirs.dimension)
    return fits and mine.shown != 0 and abs(mine.shown + theirs.shown) <= 1e-9 * abs(mine.shown)


def one_number_of_two_units(mine: Value, theirs: Value) -> bool:
    """Whether both write one number with units (or signs, or per-units) that make it two different amounts."""
    if not isinstance(mine, Quantity) or not isinstance(theirs, Quantity):
        return False
    if not mine.dimension or not theirs.dimension:
        return _sign_differs(mine, theirs)
    if not any(c.isalpha() or c in "%°€$£¥₹" for c in theirs.text):
        return _sign_differs(mine, theirs)
    if not _confusable(mine, theirs):
        return False
    number = abs(abs(mine.shown) - abs(theirs.shown)) <= 1e-9 * max(abs(mine.shown), 1e-12)
    return number and not _same_amount(mine, theirs)


_KINDS = (
    frozenset(("time", "month")),
    frozenset(("mass", "volume")),
    frozenset(("temperature", "angle")),
    _SHARES,
    frozenset(("data", "bits")),
    frozenset(("power", "energy")),
    frozenset(("length", "area", "volume")),
    frozenset(("speed", "length")),
    CURRENCIES,
)


def _confusable(mine: Quantity, theirs: Quantity) -> bool:
    """Whether one unit is easily written for the other; many digits are no accident."""
    a, b = mine.dimension, theirs.dimension
    return a == b or any(a in kind and b in kind for kind in _KINDS) or min(mine.digits, theirs.digits) >= 3


def one_place(mine: Value, theirs: Value) -> bool:
    """Whether two different values could answer the same question: one dimension, one thing counted, one shape."""
    if isinstance(mine, Token) or isinstance(theirs, Token):
        return isinstance(mine, Token) and isinstance(theirs, Token) and _one_shape(mine, theirs)
    if isinstance(mine, Clock) or isinstance(theirs, Clock):
        return isinstance(mine, Clock) and isinstance(theirs, Clock)
    if isinstance(mine, Date) or isinstance(theirs, Date):
        return isinstance(mine, Date) and isinstance(theirs, Date) and mine.shares(theirs)
    a, b = mine.dimension, theirs.dimension
    if a in CURRENCIES and b in CURRENCIES:
        return True
    if mine.ordinal != theirs.ordinal:
        return False
    if a or b:
        return a == b or {a, b} == {"time", "month"} or ({a, b} <= _SHARES)
    if mine.nouns and theirs.nouns:
        return bool(set(mine.nouns[:3]) & set(theirs.nouns[:3]))
    return bool(mine.label) and mine.label == theirs.label


def _one_shape(mine: Token, theirs: Token) -> bool:
    if mine.shape != theirs.shape:
        return False
    if mine.shape in ("code", "hash"):
        return (
            re.sub(r"\d+", "0", mine.key) == re.sub(r"\d+", "0", theirs.key) or mine.key[:2] == theirs.key[:2]
        )
    return mine.shape not in ("name", "url")
