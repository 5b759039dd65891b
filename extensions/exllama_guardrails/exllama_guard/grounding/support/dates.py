"""Dates in a text, of which any part may be missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from exllama_guard.core.places import Taken

_MONTHS = {
    name: number
    for names in (
        "january february march april may june july august september october november december",
        "jan feb mar apr may jun jul aug sep oct nov dec",
        "januar februar märz april mai juni juli august september oktober november dezember",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        "januari februari maart april mei juni juli augustus september oktober november december",
    )
    for number, name in enumerate(names.split(), 1)
} | {"sept": 9}
_MONTH = "|".join(sorted(map(re.escape, _MONTHS), key=len, reverse=True))
_YEAR = r"(?:1[0-9]{3}|20[0-9]{2}|2100)"
_DAY = r"(?:3[01]|[12][0-9]|0?[1-9])"
_GAP = r"\s{1,20}"  # a line break and an indent; a limit, so that a long run of spaces costs no more
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?P<y>{_YEAR})[-/.](?P<m>0?[1-9]|1[0-2])[-/.](?P<d>{_DAY})\b(?![-/.]\d)",
        rf"\b(?P<d>{_DAY})(?:st|nd|rd|th|\.|er|º)?{_GAP}(?:of{_GAP}|de{_GAP})?(?P<mn>{_MONTH})\b\.?(?:,?{_GAP}(?:of{_GAP}|de{_GAP}|del{_GAP})?(?P<y>{_YEAR})\b)?",
        rf"\b(?P<mn>{_MONTH})\b\.?{_GAP}(?P<d>{_DAY})(?:st|nd|rd|th)?\b(?!\s{{0,20}}(?:%|percent|million|billion|,\d{{3}}))(?:\s{{0,20}},?{_GAP}(?P<y>{_YEAR})\b)?",
        rf"\b(?P<mn>{_MONTH})\b\.?,?{_GAP}(?:of{_GAP}|de{_GAP})?(?P<y>{_YEAR})\b",
        rf"\b(?P<d>{_DAY})[/.](?P<m>0?[1-9]|1[0-2])[/.](?P<y>{_YEAR})\b",
        rf"\b(?P<m>0?[1-9]|1[0-2])[/.](?P<d>{_DAY})[/.](?P<y>{_YEAR})\b",
    )
)


@dataclass(frozen=True, slots=True)
class Date:
    """One date, of which any part may be missing."""

    start: int
    end: int
    text: str
    year: int | None
    month: int | None
    day: int | None

    def within(self, other: Date) -> bool:
        """True when every part of this date is in `other` and equal."""
        return all(
            mine is None or mine == theirs
            for mine, theirs in (
                (self.year, other.year), (self.month, other.month), (self.day, other.day)
            )
        )  # fmt: skip

    def conflicts(self, other: Date) -> bool:
        """True when some part is in both and differs."""
        return any(
            mine is not None and theirs is not None and mine != theirs
            for mine, theirs in (
                (self.year, other.year), (self.month, other.month), (self.day, other.day)
            )
        )  # fmt: skip


@lru_cache(maxsize=16384)
def dates_of(text: str) -> tuple[Date, ...]:
    """The dates of `text` in order; lone years are numbers."""
    found: list[Date] = []
    taken = Taken(len(text))
    for pattern in _DATES:
        for match in pattern.finditer(text):
            if taken.meets(*match.span()):
                continue
            taken.take(*match.span())
            parts = match.groupdict()
            month = int(parts["m"]) if parts.get("m") else _MONTHS[parts["mn"].casefold()]
            found.append(
                Date(
                    match.start(),
                    match.end(),
                    match.group(),
                    int(parts["y"]) if parts.get("y") else None,
                    month,
                    int(parts["d"]) if parts.get("d") else None,
                )
            )
    return tuple(sorted(found, key=lambda date: date.start))
