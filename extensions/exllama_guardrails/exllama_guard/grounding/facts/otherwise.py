"""Values that the evidence holds in another way: within a span, under a bound, as a count."""

from __future__ import annotations

from itertools import pairwise

from exllama_guard.grounding.facts.case import Case, Found, place_of, plainly_held
from exllama_guard.grounding.facts.clashes import RIVAL
from exllama_guard.grounding.facts.counts import counted
from exllama_guard.grounding.facts.dates import Date, is_span, weekday_spans
from exllama_guard.grounding.facts.identifiers import Token
from exllama_guard.grounding.facts.quantities import Quantity
from exllama_guard.grounding.facts.reading import Value, values_of
from exllama_guard.grounding.facts.terms import stems_of
from exllama_guard.grounding.facts.values import Fact, FactKind, Place, Status

_SMALL = 12  # counts up to here that are written in words are seldom literal in the evidence


_SLIGHT_LABELS = frozenset(
    f"labelled {w}"
    for w in "section chapter ch sec page p step § source figure fig table appendix annex row kapitel abschnitt sección chapitre sezione secção раздел line".split()
)


def is_slight(case: Case, value: Value) -> bool:
    """What a text need not hold to be right: the number of its section, "three things:" before a list, "first"."""
    if isinstance(value, Token):
        alone = (
            value.shape in ("file", "url")
            and len(stems_of(case.plain[: value.start] + case.plain[value.end :])) < 2
        )
        return alone or value.shape in _SLIGHT_LABELS
    if not isinstance(value, Quantity) or value.dimension or value.value > _SMALL:
        return False
    return (value.ordinal and value.in_words) or case.plain.rstrip(" *").endswith((":", "："))


def told_otherwise(case: Case, found: Found) -> Fact | None:
    """Held in another way: a weekday in a span, a count of a list, an amount within the statement's bound."""
    value = found.value
    if isinstance(value, Date) and value.weekday is not None and value.day is None:
        for index in range(len(case.evidence.units)):
            text = case.evidence.units[index].text
            if value.weekday in weekday_spans(
                text, tuple(d for d in values_of(text, case.language) if isinstance(d, Date))
            ):
                return Fact(
                    FactKind.DATE,
                    Status.HELD,
                    found.text,
                    value.start,
                    value.end,
                    (Place(index, 0, len(text)),),
                    "",
                    0.4,
                )
    if isinstance(value, Date) and value.day is not None:
        return _in_a_span(case, found, value)
    if isinstance(value, Quantity):
        return _bounded(case, found, value) or _as_count(case, found, value)
    return None


def _in_a_span(case: Case, found: Found, value: Date) -> Fact | None:
    """A day between two that the evidence joins: "6 October" of "5 to 7 October"."""
    dates = [m for m in case.evidence.mentions if isinstance(m.value, Date)]
    for first, second in pairwise(dates):
        gap = (
            case.evidence.units[first.unit].text[first.end : second.start]
            if first.unit == second.unit
            else " " * 20
        )
        if (
            len(gap) > 12
            or not is_span(gap)
            or not isinstance(first.value, Date)
            or not isinstance(second.value, Date)
        ):
            continue
        low, mine, high = (d.as_day(2023) for d in (first.value, value, second.value))
        if low is not None and mine is not None and high is not None and low < mine < high:
            return plainly_held(case, value, place_of(first))
    return None


def _bounded(case: Case, found: Found, value: Quantity) -> Fact | None:
    """As in "more than 100" of 120: an amount of the evidence keeps to the bound, and nothing near it breaks it."""
    if not value.bound and not value.in_range:
        return None
    for fit, mention in found.rivals[:4]:
        other = mention.value
        if fit >= 0.25 and isinstance(other, Quantity) and other.value and _keeps(value, other):
            return Fact(
                FactKind.COMPARATOR,
                Status.HELD,
                found.text,
                value.start,
                value.end,
                (place_of(mention),),
                "",
                0.4,
            )
    return None


def _keeps(bound: Quantity, other: Quantity) -> bool:
    """Whether a bound only rounds an amount of the evidence; a limit ("up to 60") is the amount itself."""
    if bound.bound == "<=" or (other.bound and not bound.in_range):
        return False
    low, high = sorted((abs(bound.value), abs(other.value)))
    if not low or high / low > 2:
        return False
    if bound.in_range:
        return high / low < 1.25
    return other.value > bound.value if bound.bound in (">", ">=") else other.value < bound.value


def _as_count(case: Case, found: Found, value: Quantity) -> Fact | None:
    if value.dimension or value.ordinal:
        return None
    how = counted(value.value, case.statement, case.evidence, case.near[:4])
    if not how:
        return None
    clear = [r for r in found.rivals if r[0] >= RIVAL]
    if (
        clear
        and isinstance(clear[0][1].value, Quantity)
        and set(clear[0][1].value.nouns[:2]) & set(value.nouns[:2])
    ):
        return None
    return Fact(
        FactKind.COUNT, Status.COMPUTED, found.text, value.start, value.end, (), f"{found.text}: {how}.", 0.4
    )
