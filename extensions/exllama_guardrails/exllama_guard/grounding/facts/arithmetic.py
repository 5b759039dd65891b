"""Sums that a statement writes out: "4 × 1.75 = 7", "15 + 35 = 50", "140 minus 96 is 44"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from exllama_guard.grounding.facts.numerals import plain, readings_of

_N = r"(?:[$€£¥₹]\s?)?(?:\d{1,3}(?: \d{3}){1,4}(?:[.,]\d{1,3})?(?![\d])|\d[\d.,]{0,16}\d|\d)"
_UNIT = r"(?:\s?(?:%|°[CF]?|[$€£¥₹]|[^\W\d_]{1,12}(?:/[^\W\d_]{1,4})?)){0,3}"
_OPERATOR = r"\s?(?:[+*×x·÷/−–-]|plus|minus|times|multiplied by|divided by|less)\s?"
_EQUATION = re.compile(
    rf"(?<![\w.,])({_N})({_UNIT})((?:{_OPERATOR}(?:{_N}){_UNIT}){{1,8}})\s?(?:=|≈|equals|is equal to|makes|gives|comes to|is(?= ))[\s*]{{0,4}}(?:(about|roughly|around|approximately|~)[\s*]{{1,4}})?(-?(?:{_N}))({_UNIT})"
)
_STEP = re.compile(rf"({_OPERATOR})({_N})({_UNIT})")


@dataclass(frozen=True, slots=True)
class Equation:
    """A written sum at [start, end): its left side, what it comes to, and what the statement says it does."""

    start: int
    end: int
    left: str
    right: str
    right_start: int
    value: float
    said: float
    holds: bool


def equations_of(text: str) -> Iterator[Equation]:
    """The written sums of `text` whose left side can be worked out; a sum that holds in one locale's form holds."""
    text = plain(text).replace("**", "  ")
    for match in _EQUATION.finditer(text):
        read = [one for one in (_equation(match, language) for language in ("en", "de")) if one is not None]
        if read:
            yield next((one for one in read if one.holds), read[0])


def _equation(match: re.Match[str], language: str) -> Equation | None:
    first, said = _value(match[1], language), _value(match[5], language)
    value = _worked_out(first, match[2], match[3], language) if first is not None else None
    if value is None or said is None:
        return None
    decimals = re.search(r"[.,](\d{1,2})\Z", match[5].strip())
    step = 0.5 * 10.0 ** -(len(decimals[1]) if decimals else 0)
    rough = match[4] is not None or "≈" in match.group()
    holds = abs(value - said) <= max(step * 1.001, 0.05 * abs(value) if rough else 0.0)
    if not holds and _in_another_unit(value, said):
        return None
    left = f"{match[1]}{match[2]}{match[3]}".strip()
    return Equation(match.start(), match.end(), left, match[5].strip(), match.start(5), value, said, holds)


def _value(written: str, language: str) -> float | None:
    bare = re.sub(r"[$€£¥₹\s]", "", written)
    negative = bare.startswith("-")
    read = readings_of(bare.lstrip("-"), language) if re.search(r"\d", bare) else None
    if read is None:
        return None
    return -read[0][0] if negative else read[0][0]


def _worked_out(first: float, unit: str, rest: str, language: str) -> float | None:
    """The value of "a × b + c", products before sums; None where units are mixed or it is no sum."""
    terms = [first]
    units = [unit.strip()]
    for step in _STEP.finditer(rest):
        number = _value(step[2], language)
        mark = step[1].strip().casefold()
        if number is None:
            return None
        percent = step[3].strip().startswith("%")
        if mark in ("*", "×", "x", "·", "times", "multiplied by"):
            terms[-1] *= number / 100 if percent else number
        elif mark in ("÷", "/", "divided by"):
            if not number:
                return None
            terms[-1] /= number
        elif percent and not units[0].startswith("%"):
            return None
        else:
            terms.append(number if mark in ("+", "plus") else -number)
            units.append(step[3].strip())
    named = {u.casefold() for u in units if u}
    if (
        len(terms) > 1
        and len(named) > 1
        and any(u in ("h", "min", "s", "kg", "g", "m", "cm", "km", "hours", "minutes", "days") for u in named)
    ):
        return None
    return sum(terms)


def _in_another_unit(value: float, said: float) -> bool:
    """Minutes told as hours, metres as kilometres, a share as percent: no fault of the sum."""
    if not value or not said:
        return False
    ratio = abs(value / said)
    return any(
        abs(ratio / f - 1) < 0.03 or abs(ratio * f - 1) < 0.03
        for f in (10, 12, 60, 100, 1000, 24, 7, 1e6, 3600, 1024)
    )
