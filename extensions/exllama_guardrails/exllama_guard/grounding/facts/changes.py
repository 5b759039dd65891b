"""Changes that a statement tells together with both amounts: "tripled from 20 to 40", "up 25 % from 9 to 11.25"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from exllama_guard.grounding.facts.compare import close, without_per
from exllama_guard.grounding.facts.quantities import Quantity
from exllama_guard.grounding.facts.reading import Value

_CHANGE = re.compile(
    r"\b(?:doubl|tripl|quadrupl|halv|up|down|rose|fell|increas|decreas|grew|dropp|cut|rais|gain|lost|shrank)",
    re.IGNORECASE,
)
_FROM = re.compile(r"\b(?:from|von|de|da|dal|с|от)\s[^.;]{0,40}\Z", re.IGNORECASE)
_TO = re.compile(r"\s?(?:to|auf|bis|à|a|para|до|на)\s[^.;\d]{0,12}\Z", re.IGNORECASE)
_UP = re.compile(r"\b(?:up|rose|increas\w*|grew|rais\w+|gain\w*|more|higher)\b", re.IGNORECASE)
_VERBS = {"doubl": 2.0, "tripl": 3.0, "quadrupl": 4.0, "halv": 0.5}


@dataclass(frozen=True, slots=True)
class Change:
    """A told change at [start, end) of the statement: from one amount to another, and whether it comes out."""

    told: Quantity
    first: Quantity
    second: Quantity
    holds: bool
    right: str  # how the change really is


def changes_of(text: str, values: Sequence[Value]) -> Iterator[Change]:
    """The multiples and percentages of a plain statement that its own "from … to …" settles."""
    if _CHANGE.search(text) is None:
        return
    amounts = [v for v in values if isinstance(v, Quantity)]
    for first, second in pairwise(amounts):
        if not _is_pair(text, first, second):
            continue
        a, b = without_per(first), without_per(second)
        if a.value <= 0 or b.value <= 0 or a.dimension != b.dimension:
            continue
        for told in amounts:
            if told is first or told is second or abs(told.start - first.start) > 60:
                continue
            change = _settled(text, told, first, second, b.value / a.value)
            if change is not None:
                yield change


def _is_pair(text: str, first: Quantity, second: Quantity) -> bool:
    return (
        _FROM.search(text[max(0, first.start - 46) : first.start]) is not None
        and _TO.match(text[first.end : second.start]) is not None
    )


def _settled(text: str, told: Quantity, first: Quantity, second: Quantity, ratio: float) -> Change | None:
    if told.dimension == "percent" and told.unit != "share":
        change = 100 * (ratio - 1)
        up = _UP.search(text[max(0, told.start - 30) : told.end + 12]) is not None
        holds = close(abs(told.value), abs(change), told) or abs(abs(change) - abs(told.value)) <= 0.06 * abs(
            change
        )
        holds = holds and not (up and change < 0)
        return Change(
            told, first, second, holds, f"{change:+.3g} %".replace("+", "plus ").replace("-", "minus ")
        )
    word = told.text.casefold()
    factor = next((value for stem, value in _VERBS.items() if word.startswith(stem)), None)
    if factor is None:
        return None
    return Change(told, first, second, abs(ratio / factor - 1) <= 0.08, f"{ratio:.3g} times")
