"""Numbers in a text, in digits or words, as values that can be compared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from exllama_guard.core.places import Taken
from exllama_guard.grounding.support.boundaries import sound
from exllama_guard.grounding.support.clock import clock_times
from exllama_guard.grounding.support.dates import dates_of

_MAGNITUDE = {
    "hundred": 1e2, "thousand": 1e3, "k": 1e3, "million": 1e6, "millions": 1e6, "mn": 1e6, "mio": 1e6,
    "m": 1e6,
    "mm": 1e6, "billion": 1e9, "billions": 1e9, "bn": 1e9, "b": 1e9, "trillion": 1e12, "tn": 1e12,
    "dozen": 12.0,
    "millionen": 1e6, "millones": 1e6, "milliarde": 1e9, "milliarden": 1e9, "milliards": 1e9, "mil": 1e3,
    "lakh": 1e5, "crore": 1e7,
}  # fmt: skip
_CURRENCY = {
    "$": "USD", "us$": "USD", "usd": "USD", "dollar": "USD", "dollars": "USD", "€": "EUR", "eur": "EUR",
    "euro": "EUR", "euros": "EUR", "£": "GBP", "gbp": "GBP", "pound": "GBP", "pounds": "GBP", "¥": "JPY",
    "yen": "JPY", "jpy": "JPY", "₹": "INR", "rupees": "INR", "chf": "CHF", "cents": "cent", "cent": "cent",
}  # fmt: skip
# Units in one size each: (dimension, factor).
_UNIT: dict[str, tuple[str, float]] = {
    "m": ("length", 1.0), "mm": ("length", 1e-3), "cm": ("length", 1e-2), "km": ("length", 1e3),
    "kilometer": ("length", 1e3),
    "kilometre": ("length", 1e3), "meter": ("length", 1.0), "metre": ("length", 1.0),
    "mile": ("length", 1609.344),
    "foot": ("length", 0.3048), "feet": ("length", 0.3048), "ft": ("length", 0.3048),
    "inch": ("length", 0.0254),
    "inches": ("length", 0.0254), "yard": ("length", 0.9144), "kg": ("mass", 1.0), "kilogram": ("mass", 1.0),
    "kilo": ("mass", 1.0), "gram": ("mass", 1e-3), "lb": ("mass", 0.45359237), "lbs": ("mass", 0.45359237),
    "tonne": ("mass", 1e3), "second": ("time", 1.0), "minute": ("time", 60.0), "hour": ("time", 3600.0),
    "day": ("time", 86400.0), "week": ("time", 604800.0), "month": ("month", 1.0), "year": ("month", 12.0),
    "decade": ("month", 120.0), "century": ("month", 1200.0), "centuries": ("month", 1200.0),
}  # fmt: skip
_NUMBER = re.compile(
    r"(?P<cur>US\$|[$€£¥₹])?\s?(?P<sign>(?<![\w)])[-−])?(?P<num>\d{1,3}(?:,\d{2,3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
    r"(?P<ord>st|nd|rd|th)?(?P<s>s)?(?:\s{0,3}-?\s{0,3}(?P<mag>hundred|thousand|millions?|billions?|trillion|"
    r"dozen|bn|mn|tn|mio|lakh|"
    r"crore|milliarden?|milliards|millones|millionen|[kKmMbB](?![\w.]))\b)?(?P<pct>\s{0,3}(?:%|"
    r"percent(?:age points?)?\b|per cent\b|pct\b|"
    r"prozent\b))?",
)
_NEXT_WORD = re.compile(r"[\s-]{0,20}(?:of\s{1,20})?([^\W\d_]+)")
# The unit behind the other end of a range, or behind a word that only narrows it: "20 to 30 minutes".
_FURTHER = re.compile(
    r"(?:\s{0,9}(?:to|or|and|[-–—])\s{0,9}[\d.,]{0,24}\d\s{0,9}-?|\s{1,9}(?:more|further|full|whole|business|working|"
    r"consecutive|calendar))\s{0,9}([^\W\d_]+)",
    re.IGNORECASE,
)
_ABOUT = re.compile(
    r"(?:about|around|approximately|approx\.?|nearly|almost|roughly|over|more than|less than|under|up "
    r"to|at least|some|"
    r"circa|ca\.?|~|≈)\s*$",
    re.IGNORECASE,
)
# What stands in one pair of brackets; whether it is a citation is asked of its items, one by one.
_BRACKETS = re.compile(r"[\[【]([^\[\]【】]{1,200})[\]】]")
_CITED = re.compile(r"(?:s|source|doc|ref|#)?\d{1,3}", re.IGNORECASE)
_SEPARATED = re.compile(r"[\s,;–-]+")
_CITED_WORDS = frozenset(["s", "source", "doc", "ref", "#"])
_MOST_DIGITS = 100  # a longer one is an id, and floats end at 308
_NO_THINGS = frozenset(["always", "does", "perhaps", "this", "times", "towards"])
_SCALE_WORDS = frozenset(["hundred", "thousand", "million", "billion", "trillion", "dozen"])


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number with what it counts. `low` and `high` are the values that its digits stand for.

    A time of day is its minutes since midnight; it is approximate where the half of the day is not told.
    """

    start: int
    end: int
    text: str
    value: float
    low: float
    high: float
    unit: str  # "%", a currency code, a dimension, "clock", "year", "ordinal" or ""
    noun: str  # the word after it, case-folded; "" where there is none
    approximate: bool

    def agrees(self, other: Quantity) -> bool:
        """True when both may stand for one value: equal, or equal after rounding to the coarser of both."""
        if "clock" in (self.unit, other.unit):
            return self._is_time_of(other)
        if (
            self.unit
            and other.unit
            and self.unit != other.unit
            and {self.unit, other.unit} != {"year", "ordinal"}
        ):
            return False
        if self._counts_what_the_other_measures(other) or other._counts_what_the_other_measures(self):
            return False
        if self.value == other.value:
            return True
        if self.unit == "year" or other.unit == "year" or "ordinal" in (self.unit, other.unit):
            return False
        slack = 0.05 * abs(other.value) if self.approximate or other.approximate else 0.0
        return (
            self.low - slack <= other.value <= self.high + slack
            or other.low - slack <= self.value <= other.high + slack
        )

    def _is_time_of(self, other: Quantity) -> bool:
        """Whether both may be one time of day; a bare number may be an hour ("open from 9")."""
        mine, theirs = self._minutes(), other._minutes()
        if mine is None or theirs is None:
            return False
        if self._counts_what_the_other_measures(other) or other._counts_what_the_other_measures(self):
            return False
        half_told = self.unit == other.unit and not (self.approximate or other.approximate)
        return (mine - theirs) % (1440 if half_told else 720) == 0

    def _minutes(self) -> float | None:
        if self.unit == "clock":
            return self.value
        return 60.0 * self.value if not self.unit and 0 <= self.value <= 24 else None

    def _counts_what_the_other_measures(self, other: Quantity) -> bool:
        """True for "two processes" beside "2 seconds": a plural of things is no amount of a unit."""
        if self.unit or not other.unit or other.unit in ("year", "ordinal"):
            return False
        return (
            len(self.noun) > 3
            and self.noun.endswith("s")
            and not self.noun.endswith(("ss", "us"))
            and self.noun not in _NO_THINGS
        )


def without_markers(text: str) -> str:
    """`text` with citation markers such as [1], [s2] or [3-5] blanked out; the rest keeps its place."""
    return _BRACKETS.sub(_blanked, text) if "[" in text or "【" in text else text


def _blanked(brackets: re.Match[str]) -> str:
    return " " * len(brackets.group()) if _is_marker(brackets[1]) else brackets.group()


def _is_marker(inside: str) -> bool:
    """True where the brackets hold numbers of snippets only: "1", "s2, 3-5", "source 4", "4†p. 2"."""
    numbers = inside.partition("†")[0].strip()
    if not numbers or numbers[0] in ",;–-":
        return False
    items = [item.casefold() for item in _SEPARATED.split(numbers) if item]
    return items[-1] not in _CITED_WORDS and all(
        _CITED.fullmatch(item) or item in _CITED_WORDS for item in items
    )


def with_years(text: str, language: str = "en") -> tuple[Quantity, ...]:
    """The numbers of `text`, and the years of its dates: what a stated number may agree with."""
    years = (
        Quantity(d.start, d.end, d.text, float(d.year), float(d.year), float(d.year), "year", "", False)
        for d in dates_of(text)
        if d.year is not None
    )
    return (*quantities_of(text, language), *years)


@lru_cache(maxsize=16384)
def quantities_of(text: str, language: str = "en") -> tuple[Quantity, ...]:
    """The numbers of `text` in order, in digits or words, outside its dates."""
    text = without_markers(text)
    taken = Taken(len(text))
    for date in dates_of(text):
        taken.take(date.start, date.end)
    found: list[Quantity] = []
    for kind in (_times(text), _in_digits(text), _in_words(text, language)):
        free = [quantity for quantity in kind if not taken.meets(quantity.start, quantity.end)]
        for quantity in free:
            taken.take(quantity.start, quantity.end)
        found += free
    return tuple(sorted(found, key=lambda quantity: quantity.start))


def _times(text: str) -> list[Quantity]:
    return [
        Quantity(
            t.start,
            t.end,
            text[t.start : t.end],
            t.minutes,
            t.minutes,
            t.minutes,
            "clock",
            "",
            not t.half_told,
        )
        for t in clock_times(text)
    ]


def _in_digits(text: str) -> list[Quantity]:
    out = []
    for match in _NUMBER.finditer(text):
        digits = match["num"]
        start = match.start() + len(match.group()) - len(match.group().lstrip())
        if start and (text[start - 1].isalpha() or text[start - 1] == "_") and not match["cur"]:
            continue  # part of a name such as B2B or GPT4
        plain = digits.replace(",", "")
        if len(plain) > _MOST_DIGITS:
            continue
        value = float(plain)
        scale = match["mag"] or ""
        end = match.end()
        if scale == "m" and not match["cur"]:  # metres
            scale, end = "", match.start("mag")
        magnitude = _MAGNITUDE.get(scale.casefold(), 1.0)
        decimals = len(plain.partition(".")[2])
        step = 10.0**-decimals
        if not decimals and not scale and "," not in digits:
            step = 1.0
        zeros = len(plain) - len(plain.rstrip("0")) if not decimals else 0
        rounded = zeros >= 2 and len(plain) - zeros >= 2  # 12,000 may stand for 12,345; 1,000 is not 1,400
        if rounded:
            step = 10.0**zeros
        unit = "%" if match["pct"] else _CURRENCY.get((match["cur"] or "").casefold(), "")
        out.append(
            _quantity(
                text,
                start,
                end,
                value * magnitude,
                step * magnitude,
                unit,
                ordinal=bool(match["ord"]),
                exact=not scale and not decimals and not rounded,
                yearlike=len(digits) == 4 and not scale and not unit,
            )
        )
    return out


def _quantity(
    text: str,
    start: int,
    end: int,
    value: float,
    step: float,
    unit: str,
    *,
    ordinal: bool,
    exact: bool,
    yearlike: bool,
) -> Quantity:
    after = _NEXT_WORD.match(text, end)
    noun = after[1].casefold() if after else ""
    known = _unit(noun)
    further = _FURTHER.match(text, end) if known is None else None
    if further is not None and (shared := _unit(further[1].casefold())) is not None:
        noun, known = further[1].casefold(), shared
    if ordinal:
        unit = "ordinal"
    elif not unit and noun in _CURRENCY:
        unit = _CURRENCY[noun]
    elif not unit and noun in ("percent", "percentage"):
        unit = "%"
    elif not unit and known is not None:
        unit, factor = known
        value, step = value * factor, step * factor
    elif not unit and yearlike and 1000 <= value <= 2100:
        unit = "year"
    half = 0.0 if exact else step / 2
    about = _ABOUT.search(text, max(0, start - 16), start) is not None
    while end > start and text[end - 1].isspace():
        end -= 1
    return Quantity(start, end, text[start:end], value, value - half, value + half, unit, noun, about)


def _unit(noun: str) -> tuple[str, float] | None:
    return _UNIT.get(noun) or _UNIT.get(noun.rstrip("s"))


def _in_words(text: str, language: str) -> list[Quantity]:
    """Numbers written in words; a lone "one" or "a" counts nothing."""
    from text_to_num import find_numbers

    tokens = [_Token(match) for match in _WORDS.finditer(sound(text))]
    if not any(token.maybe for token in tokens) and language == "en":
        return []
    out = []
    for found in find_numbers(tokens, language if language in NUMBER_LANGUAGES else "en", 0.0):
        first, last = tokens[found.start], tokens[found.end - 1]
        written = text[first.start : last.end].casefold()
        if written in ("one", "a", "an", "second", "un", "une", "uno", "una", "ein", "eine", "um", "uma"):
            continue
        value = float(found.value)
        round_one = value >= 100 and any(word in _SCALE_WORDS for word in written.split())
        out.append(
            _quantity(text, first.start, last.end, value, 10.0 if round_one else 1.0, "",
                      ordinal=bool(found.is_ordinal), exact=True, yearlike=False)
        )  # fmt: skip
    return out


_WORDS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d[\d.,]*|[^\w\s]")
NUMBER_LANGUAGES = frozenset(("en", "fr", "es", "pt", "de", "nl", "da", "it"))
_NUMBER_WORDS = re.compile(
    r"(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|"
    r"sixteen|seventeen|"
    r"eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|"
    r"billion|trillion|"
    r"first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|\w+th)s?\Z",
    re.IGNORECASE,
)


class _Token:
    """A token as text_to_num asks for it, with its place."""

    __slots__ = ("_text", "end", "maybe", "start")

    def __init__(self, match: re.Match[str]) -> None:
        self._text = match.group().casefold()
        self.start, self.end = match.span()
        self.maybe = _NUMBER_WORDS.match(self._text) is not None

    def text(self) -> str:
        return self._text

    def nt_separated(self, previous: object) -> bool:
        return False

    def not_a_number_part(self) -> bool:
        return False
