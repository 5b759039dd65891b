"""The numbers that stand in a text, in digits and in English words, for telling where an argument comes from."""

from __future__ import annotations

import re

__all__ = ["amounts_in"]

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
).split()
_WORDS: dict[str, float] = {word: float(value) for value, word in enumerate(_SMALL)}
_WORDS |= {word: 10.0 * (place + 3) for place, word in enumerate("thirty forty fifty sixty seventy eighty ninety".split())}
_WORDS |= {"half": 0.5, "quarter": 0.25, "dozen": 12.0, "couple": 2.0, "pair": 2.0, "once": 1.0, "twice": 2.0}
_WORDS |= {"first": 1.0, "second": 2.0, "third": 3.0, "fourth": 4.0, "fifth": 5.0, "sixth": 6.0, "tenth": 10.0}
_WORDS |= {"a": 1.0, "an": 1.0, "single": 1.0, "double": 2.0, "triple": 3.0, "hundred": 100.0}
_SCALES = {"hundred": 1e2, "thousand": 1e3, "k": 1e3, "million": 1e6, "m": 1e6, "billion": 1e9, "trillion": 1e12}
_DIGITS = re.compile(r"(?<![\w.])[-−+]?\s?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?|(?<=\w)\d+(?:\.\d+)?|\.\d+")
_BEHIND = re.compile(r"\s*-?(%|percent|[a-z]+)", re.IGNORECASE)
_FRACTION = re.compile(r"(\d+)\s*/\s*(\d+)")
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)


def amounts_in(text: str) -> frozenset[float]:
    """Every number that `text` states: as written, scaled by the word behind it, a percentage as a share too."""
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
    word = behind[1].lower() if behind is not None else ""
    if word in ("%", "percent"):
        out |= {value / 100, abs(value) / 100}
    if word in _SCALES:
        out.add(value * _SCALES[word])
    return out
