"""Where each argument of a call comes from: the chat, a tool's result, a snippet, the schema, or nowhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from exllama_guard.tools.amounts import amounts_in

__all__ = ["ArgumentOrigin", "CallSources", "Origin", "origins_of"]


class Origin(str, Enum):
    """Where a value stands, or that it was made of what stands there."""

    USER = "the user's words"
    RESULT = "a tool's result"
    SNIPPET = "a snippet"
    SCHEMA = "the schema"
    COMPUTED = "computed"
    TEXT = "free text about it"
    NOWHERE = "from nowhere"


@dataclass(frozen=True, slots=True)
class CallSources:
    """What was known when a call was written. `user` are all messages of the user."""

    user: str
    results: tuple[str, ...] = ()
    snippets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ArgumentOrigin:
    """One value of a call: `path` is a JSON pointer into the arguments, `value` its JSON text."""

    path: str
    value: str
    origin: Origin


# Arguments whose text a model composes; they are judged by what they are about, not word by word.
_FREE = re.compile(
    r"query|message|code|text|content|body|prompt|question|sql|description|summary|subject|title|note|reason|"
    r"function|equation|expression|formula|comment|instruction|condition|feature|detail",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[^\W_]+")
_IDLE = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "in",
        "on",
        "at",
        "to",
        "for",
        "and",
        "or",
        "with",
        "by",
        "from",
        "is",
        "are",
        "my",
        "me",
        "i",
        "you",
        "it",
        "this",
        "that",
    ]
)
_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_DATE = re.compile(
    r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})(?:[-/.](?P<day>\d{1,2}))?"
    r"|(?P<a>\d{1,2})[-/.](?P<b>\d{1,2})[-/.](?P<c>\d{4})"
)
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::\d{2})?\s*(am|pm)?", re.IGNORECASE)
_RELATIVE = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|now|current|next|last|this|coming|ago|later|upcoming)\b",
    re.IGNORECASE,
)
# A share of a text's words that must be known; what stands behind a comma ("San Francisco, CA") need not be.
_SHARE, _FREE_SHARE = 0.6, 0.3
# Words that many names share: known or not, they say nothing where another word stands beside them.
_KINDS = frozenset(
    [
        "inc",
        "corp",
        "corporation",
        "llc",
        "ltd",
        "co",
        "company",
        "city",
        "state",
        "county",
        "hotel",
        "museum",
        "restaurant",
        "library",
        "court",
    ]
)
_EXACT = re.compile(r"@|://|^[~.]?/|^[A-Za-z]:[/\\\\]")
_CURRENCIES = {
    **{"usd": "dollar", "eur": "euro", "gbp": "pound", "jpy": "yen", "cad": "canadian", "aud": "australian"},
    **{
        "cny": "yuan",
        "inr": "rupee",
        "chf": "franc",
        "krw": "won",
        "rub": "ruble",
        "brl": "real",
        "sek": "krona",
    },
}
_LIKE = 4  # letters that two words must share at their beginning to be forms of one
# Changes of unit, each where a word of one of its units stands.
_FACTORS = (
    (60.0, re.compile(r"\b(?:hour|hr|minute|min|second)s?\b")),
    (24.0, re.compile(r"\b(?:day|hour)s?\b")),
    (7.0, re.compile(r"\bweeks?\b")),
    (12.0, re.compile(r"\b(?:year|month|dozen|feet|foot|inch|inches)s?\b")),
    (100.0, re.compile(r"%|percent|\b(?:cm|centi\w+|cents?)\b")),
    (1000.0, re.compile(r"\b(?:km|kg|kilo\w+|mm|milli\w+|mg|kw)\b")),
)
_BESIDE = re.compile(r"\b(?:less|fewer|under|below|more|over|above|after|before)\b")


def origins_of(
    arguments: Mapping[str, Any], parameters: Mapping[str, Any], sources: CallSources
) -> tuple[ArgumentOrigin, ...]:
    """The origin of each value of a call, in document order; lists and objects by what is in them.

    A text or number that a schema leaves free and that stands nowhere is NOWHERE. A permitted value may be
    chosen by meaning (SCHEMA), unless another one stands in the user's words.
    """
    judge = _Judge(sources)
    named = parameters.get("properties", {})
    return tuple(
        found
        for name, value in arguments.items()
        for found in judge.values(name, value, named.get(name, {}), f"/{name}")
    )


class _Judge:
    """Holds each source as text, its words and its numbers."""

    def __init__(self, sources: CallSources) -> None:
        listed = [(Origin.USER, sources.user), (Origin.RESULT, " ".join(sources.results))]
        listed.append((Origin.SNIPPET, " ".join(sources.snippets)))
        self._sources = [(origin, _Source(text)) for origin, text in listed if text]

    def values(self, name: str, value: Any, schema: Any, path: str) -> Iterator[ArgumentOrigin]:  # noqa: ANN401 - any JSON value
        schema = schema if isinstance(schema, Mapping) else {}
        if isinstance(value, Mapping):
            below = schema.get("properties", {})
            for key, part in value.items():
                yield from self.values(key, part, below.get(key, {}), f"{path}/{key}")
        elif isinstance(value, list):
            for place, part in enumerate(value):
                yield from self.values(name, part, schema.get("items", {}), f"{path}/{place}")
        else:
            origin = self._origin(name, value, schema)
            yield ArgumentOrigin(path, json.dumps(value, ensure_ascii=False), origin)

    def _origin(self, name: str, value: Any, schema: Mapping[str, Any]) -> Origin:  # noqa: ANN401 - any JSON value
        if value is None or isinstance(value, bool):
            return Origin.SCHEMA  # too few values to stand anywhere
        permitted = [schema["const"]] if "const" in schema else schema.get("enum")
        if isinstance(permitted, list):
            return self._chosen(value, permitted)
        if "default" in schema and schema["default"] == value:
            return Origin.SCHEMA
        for origin, source in self._sources:
            if source.holds(value):
                return origin
        about = str(schema.get("description", ""))
        if _in_description(value, about):
            return Origin.SCHEMA
        return self._made(name, value)

    def _chosen(self, value: object, permitted: Iterable[object]) -> Origin:
        for origin, source in self._sources:
            if source.names(str(value)) or (not isinstance(value, str) and source.holds(value)):
                return origin
        others = [other for other in permitted if other != value and isinstance(other, str)]
        named = any(
            source.names(other) or source.share(other) > source.share(str(value))
            for other in others
            for _, source in self._sources
        )
        return Origin.NOWHERE if named else Origin.SCHEMA

    def _made(self, name: str, value: object) -> Origin:
        if isinstance(value, str):
            if any(source.dates(value) for _, source in self._sources):
                return Origin.COMPUTED
            free = bool(_FREE.search(name)) or len(_TOKEN.findall(value)) > 6
            if free and any(source.share(value) >= _FREE_SHARE for _, source in self._sources):
                return Origin.TEXT
            return Origin.NOWHERE
        number = float(value) if isinstance(value, (int, float)) else 0.0
        computed = any(source.yields(number) for _, source in self._sources)
        return Origin.COMPUTED if computed else Origin.NOWHERE


class _Source:
    """One text to look in."""

    def __init__(self, text: str) -> None:
        self.text = text.casefold()
        self.words = _words(text)
        self.amounts = amounts_in(text)
        self._initials = "".join(word[0] for word in self.words)

    def holds(self, value: object) -> bool:
        """Whether the value stands here, in another form of its words or numbers too."""
        if isinstance(value, (int, float)):
            return any(_same(float(value), amount) for amount in self.amounts)
        text = str(value).strip()
        if not text or self.names(text):
            return bool(text)
        if _EXACT.search(text):
            return False
        head = text.partition(",")[0]
        return max(self.share(text), self.share(head) if head != text else 0.0) >= _SHARE

    def names(self, value: str) -> bool:
        """Whether the whole value stands here as words of its own."""
        return re.search(rf"(?<![^\W\d]){re.escape(value.casefold())}(?![^\W\d])", self.text) is not None

    def share(self, value: str) -> float:
        """Share of the words of `value` that stand here, [0, 1]."""
        words = [word for word in _words(value) if word not in _KINDS] or _words(value)
        if not words:
            return 0.0
        currency = _CURRENCIES.get(value.casefold())
        if currency is not None and currency in self.text:
            return 1.0
        known = sum(any(_alike(word, other) for other in self.words) for word in words)
        short = len(words) == 1 and len(words[0]) in (2, 3) and value.isupper()
        short = short and words[0] in self._initials
        return 1.0 if short else known / len(words)

    def dates(self, value: str) -> bool:
        """Whether a date or time of day stands here in another form, or a relative one does."""
        date, clock = _DATE.search(value), _CLOCK.search(value)
        if date is None and clock is None:
            return False
        if date is not None and _RELATIVE.search(self.text) and not _YEAR.search(self.text):
            return True
        return (date is None or self._has_date(date)) and (clock is None or self._has_hour(clock))

    def _has_date(self, date: re.Match[str]) -> bool:
        """Whether year, month and day stand here; a day may lie some days behind one that does."""
        year = date["year"] or date["c"]
        if float(year) not in self.amounts and _YEAR.search(self.text):
            return False
        lasting = [amount for amount in self.amounts if amount < 32]
        days = self.amounts | {first + second for first in lasting for second in lasting}
        if date["year"]:
            day = date["day"]
            return self._has_month(int(date["month"])) and (day is None or float(day) in days)
        first, second = int(date["a"]), int(date["b"])  # either may be the month
        return any(
            self._has_month(month) and float(day) in days for month, day in ((first, second), (second, first))
        )

    def _has_month(self, month: int) -> bool:
        named = [place for place, name in enumerate(_MONTHS, 1) if re.search(rf"\b{name[:3]}", self.text)]
        return month in named if named else float(month) in self.amounts

    def _has_hour(self, clock: re.Match[str]) -> bool:
        hour = int(clock[1]) % 12
        noon = hour == 0 and "noon" in self.text
        return noon or any(float(hour + more) in self.amounts for more in (0, 12))

    def yields(self, number: float) -> bool:
        """Whether a change of unit makes the number of one that stands here, or a year that is named."""
        factors = [factor for factor, unit in _FACTORS if unit.search(self.text)]
        steps = (1.0, -1.0) if _BESIDE.search(self.text) else ()
        return any(
            any(_same(number, amount * factor) or _same(number * factor, amount) for factor in factors)
            or any(_same(number, amount + step) for step in steps)
            for amount in self.amounts
            if amount not in (0.0, 1.0)
        )


def _words(text: str) -> list[str]:
    return [word for word in (found.casefold() for found in _TOKEN.findall(text)) if word not in _IDLE]


def _alike(word: str, other: str) -> bool:
    if word == other:
        return True
    if word.isdigit() or other.isdigit() or min(len(word), len(other)) < _LIKE:
        return False
    begun = len(word) if other.startswith(word) else _common(word, other)
    return begun >= max(_LIKE, min(len(word), len(other)) - 2) and abs(len(word) - len(other)) <= _LIKE


def _common(word: str, other: str) -> int:
    length = 0
    for first, second in zip(word, other, strict=False):
        if first != second:
            break
        length += 1
    return length


def _same(first: float, second: float) -> bool:
    return abs(first - second) <= 1e-9 * max(1.0, abs(first))


def _in_description(value: object, about: str) -> bool:
    """Whether an argument's description names the value as its default or in quotes."""
    text = re.escape(str(value).casefold())
    about = about.casefold()
    near = re.search(rf"default\w*\b[^.;]{{0,40}}?(?<![\w.]){text}(?![\w])", about)
    quoted = isinstance(value, str) and re.search(rf"['\"‘`]{text}['\"’`]", about) is not None
    return near is not None or quoted
