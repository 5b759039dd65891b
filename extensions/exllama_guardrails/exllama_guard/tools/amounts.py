"""The numbers that stand in a text, in digits and in English words."""

from __future__ import annotations

import re

__all__ = ["amounts_in"]

_SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]
_WORDS: dict[str, float] = {word: float(value) for value, word in enumerate(_SMALL)}
_TENS = ["thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS |= {word: 10.0 * (place + 3) for place, word in enumerate(_TENS)}
_WORDS |= {"half": 0.5, "quarter": 0.25, "dozen": 12.0, "couple": 2.0, "pair": 2.0, "once": 1.0, "twice": 2.0}
_WORDS |= {
    "first": 1.0,
    "second": 2.0,
    "third": 3.0,
    "fourth": 4.0,
    "fifth": 5.0,
    "sixth": 6.0,
    "tenth": 10.0,
}
_WORDS |= {"a": 1.0, "an": 1.0, "single": 1.0, "double": 2.0, "triple": 3.0, "hundred": 100.0}
_SCALES = {
    "hundred": 1e2,
    "thousand": 1e3,
    "k": 1e3,
    "million": 1e6,
    "m": 1e6,
    "billion": 1e9,
    "trillion": 1e12,
}
_WORDS |= {
    "decade": 10.0,
    "week": 7.0,
    "fortnight": 14.0,
    "rest": 0.0,
    "dropped": 0.0,
    "no": 0.0,
    "without": 0.0,
}
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?"
_DIGITS = re.compile(rf"(?<![\w.])[-−+]?\s?{_NUMBER}|(?<=[^\W\d])\d+(?:\.\d+)?|\.\d+")
_BEHIND = re.compile(r"\s*-?(%|percent|[pa]\.?m\b|[a-zµμ°]+)", re.IGNORECASE)
# Prefixes before a unit's letter, as in 50mH and 100µF, and the directions of coordinates below zero.
_PREFIXES = {"µ": 1e-6, "μ": 1e-6, "n": 1e-9, "p": 1e-12, "m": 1e-3, "c": 1e-2, "k": 1e3, "M": 1e6, "G": 1e9}
_UNIT = re.compile(r"[µμnpmckMG](?:F|H|W|A|V|m|g|s|Hz|N|J|C|T|Ω|L|l)")
_FRACTION = re.compile(r"(?<!\d)(\d{1,15})\s{0,3}/\s{0,3}(\d{1,15})")
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)


def amounts_in(text: str) -> frozenset[float]:
    """Every number that `text` states: as written, scaled by the word behind, percentages as shares too."""
    found: set[float] = set()
    for match in _DIGITS.finditer(text):
        found |= _readings(match.group(), _BEHIND.match(text, match.end()))
    for match in _FRACTION.finditer(text):
        if int(match[2]):
            found.add(int(match[1]) / int(match[2]))
    words = [word.lower() for word in _WORD.findall(text)]
    for place, word in enumerate(words):
        value = _WORDS.get(word)
        if value is None:
            continue
        found.add(value)
        following = words[place + 1] if place + 1 < len(words) else ""
        if following in _SCALES:
            found.add(value * _SCALES[following])
        if value >= 20 and _WORDS.get(following, 99.0) < 10:
            found.add(value + _WORDS[following])
    return frozenset(found)


def _readings(written: str, behind: re.Match[str] | None) -> set[float]:
    bare = re.sub(r"[\s,+]", "", written).replace("−", "-").rstrip(".")
    value = float(bare)
    out = {value, abs(value)}
    following = behind[1] if behind is not None else ""
    word = following.lower()
    if word.replace(".", "") == "pm" and 1 <= value < 12:
        out.add(value + 12)
    if _UNIT.fullmatch(following):
        out.add(value * _PREFIXES[following[0]])
    if following in ("W", "S", "west", "south"):
        out.add(-value)
    if word in ("%", "percent"):
        out |= {value / 100, abs(value) / 100}
    if word in _SCALES:
        out.add(value * _SCALES[word])
    return out
