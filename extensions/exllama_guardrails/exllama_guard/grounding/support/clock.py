"""Times of day in a text: "9:30", "9 pm", "21 Uhr", "21h30"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from exllama_guard.core.places import Taken

_HOUR, _MINUTE = r"(?P<h>[01]?\d|2[0-3])", r"(?P<m>[0-5]\d)"
_HALF = r"(?P<half>[ap])(?:\.\s?m\.|m\b)"
_TIMES = tuple(
    re.compile(rf"(?<![\w:.,/$€£]){pattern}", re.IGNORECASE)
    for pattern in (
        rf"{_HOUR}:{_MINUTE}(?::[0-5]\d(?:[.,]\d{1, 9})?)?(?![\d:])(?:\s?{_HALF})?",
        rf"(?P<h>1[0-2]|0?[1-9])(?:\.{_MINUTE})?\s?{_HALF}",
        rf"{_HOUR}(?:\.{_MINUTE})?\s?(?:Uhr|o['’]clock)\b",
        rf"{_HOUR}\s?h\s?{_MINUTE}\b",
    )
)


@dataclass(frozen=True, slots=True)
class ClockTime:
    """Minutes since midnight, in [0, 1440). `half_told` where the half of the day is known."""

    start: int
    end: int
    minutes: int
    half_told: bool


def clock_times(text: str) -> tuple[ClockTime, ...]:
    """The times of day of `text`, in order; hours in words are not read."""
    found: list[ClockTime] = []
    taken = Taken(len(text))
    for pattern in _TIMES:
        for match in pattern.finditer(text):
            if not taken.meets(*match.span()):
                taken.take(*match.span())
                found.append(_time(match))
    return tuple(sorted(found, key=lambda one: one.start))


def _time(match: re.Match[str]) -> ClockTime:
    parts = match.groupdict()
    hour, minute, half = int(parts["h"]), int(parts.get("m") or 0), (parts.get("half") or "").casefold()
    told = bool(half) or hour == 0 or hour > 12
    if half and hour <= 12:
        hour = hour % 12 + (12 if half == "p" else 0)
    return ClockTime(match.start(), match.end(), hour * 60 + minute, told)
