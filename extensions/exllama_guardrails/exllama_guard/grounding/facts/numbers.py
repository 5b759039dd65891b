"""The numbers of a statement, each held against the evidence in its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from exllama_guard.grounding.facts.arithmetic import equations_of
from exllama_guard.grounding.facts.case import (
    MOST_VALUES,
    Case,
    Found,
    follows,
    found_for,
    kind_of,
    place_of,
    plainly_held,
)
from exllama_guard.grounding.facts.changes import changes_of
from exllama_guard.grounding.facts.clashes import (
    bound_clash,
    column_is_meant,
    conflict,
    is_multiple,
    misplaced,
    other_unit,
    stands_in_place,
    zone_clash,
)
from exllama_guard.grounding.facts.compare import (
    same,
)
from exllama_guard.grounding.facts.cues import asks_for_a_sum
from exllama_guard.grounding.facts.dates import Date
from exllama_guard.grounding.facts.doubt import doubt_of
from exllama_guard.grounding.facts.evidence import evidence_of
from exllama_guard.grounding.facts.identifiers import Token
from exllama_guard.grounding.facts.languages import language_of
from exllama_guard.grounding.facts.literal import literal_place, stands_anywhere
from exllama_guard.grounding.facts.operands import Result
from exllama_guard.grounding.facts.otherwise import is_slight, told_otherwise
from exllama_guard.grounding.facts.quantities import Quantity, without_markers
from exllama_guard.grounding.facts.reading import MOST_CHARACTERS, Value, values_of
from exllama_guard.grounding.facts.values import Fact, FactKind, Status, Unit


def number_facts(
    statement: str,
    units: Sequence[Unit],
    near: Sequence[int],
    *,
    question: str = "",
    before: str = "",
    language: str = "en",
) -> tuple[Fact, ...]:
    """The amounts, dates, times, identifiers and counts of `statement` in order, each with its standing."""
    statement = statement[:MOST_CHARACTERS]
    spoken = language_of(statement, language)
    evidence = evidence_of(units, language)
    valid = tuple(i for i in near if 0 <= i < len(evidence.units))
    values = values_of(statement, spoken)[:MOST_VALUES]
    case = Case(
        statement, without_markers(statement), question, before[-600:], evidence, valid, values, spoken
    )
    equations = [*_equation_facts(case), *_change_facts(case)]
    facts = list(equations)
    for value in values:
        if any(value.start < f.end and f.start < value.end for f in equations):
            continue
        fact = _fact(case, value)
        if fact is not None:
            facts.append(fact)
    return tuple(sorted(facts, key=lambda f: (f.start, f.end)))


def _equation_facts(case: Case) -> list[Fact]:
    out = []
    for one in equations_of(case.statement):
        right = case.statement[one.right_start : one.end].strip(" *")
        if one.holds:
            start = one.right_start
            reason = f"{one.left} = {right}, computed from the answer's own numbers."
            out.append(
                Fact(FactKind.QUANTITY, Status.COMPUTED, right, start, start + len(right), (), reason, 0.8)
            )
            continue
        reason = f"The answer says that {one.left} is {one.right}; it is {_shown(one.value)}."
        start = one.right_start
        out.append(
            Fact(FactKind.QUANTITY, Status.CONFLICT, right, start, start + len(right), (), reason, 0.9)
        )
    return out


def _change_facts(case: Case) -> list[Fact]:
    """Multiples and percentages that the statement's own two amounts settle."""
    out = []
    for one in changes_of(case.plain, case.values):
        text = case.statement[one.told.start : one.told.end].strip()
        pair = f"{one.first.text} to {one.second.text}"
        if one.holds:
            status, reason = Status.COMPUTED, f"{text}: from {pair}, computed from the answer's own numbers."
        else:
            status, reason = Status.CONFLICT, f"The answer says “{text}” of {pair}; that is {one.right}."
        out.append(Fact(FactKind.QUANTITY, status, text, one.told.start, one.told.end, (), reason, 0.8))
    return out


def _shown(value: float) -> str:
    return f"{value:,.10g}" if abs(value) < 1e15 else f"{value:g}"


def _fact(case: Case, value: Value) -> Fact | None:
    if _is_no_claim(case, value):
        return None
    if any(same(value, asked) for asked in values_of(case.question, case.language)) and not isinstance(
        value, Date
    ):
        return plainly_held(case, value)
    found = found_for(case, value)
    fact = _held(case, found) if found.equal else _not_held(case, found)
    return replace(fact, doubt=doubt_of(case, found, fact)) if fact is not None else None


def _is_no_claim(case: Case, value: Value) -> bool:
    """Discourse ("first, …"), soft amounts ("a day") and what the question or the text before already says."""
    if isinstance(value, Quantity):
        if value.soft:
            return True
        if value.in_range and re.search(
            r"\(\d{1,2}[-–:]\d{1,2}\)", case.plain[max(0, value.start - 4) : value.end + 4]
        ):
            return True  # the score at that moment
        if value.ordinal and value.in_words and value.value <= 3 and not value.nouns:
            return True
    return False


def _held(case: Case, found: Found) -> Fact:
    """HELD, unless its place in the evidence has another value, or another bound."""
    best = found.equal[0][0]
    clash = bound_clash(case, found) or zone_clash(case, found) or misplaced(case, found)
    if clash is not None:
        return clash
    return Fact(
        kind_of(found.value),
        Status.HELD,
        found.text,
        found.value.start,
        found.value.end,
        tuple(place_of(m) for _, m in found.equal[:3]),
        "",
        0.5 + best / 2,
    )


def _not_held(case: Case, found: Found) -> Fact | None:
    value = found.value
    swapped = other_unit(case, found, 0.3)
    if swapped is not None:
        return swapped
    result = follows(case, found)
    if result is not None:
        reason = f"{result.formula} = {found.text}, computed from {_sources(case, result)}."
        places = tuple(place_of(o.mention) for o in result.operands if o.mention is not None)
        return Fact(
            kind_of(value),
            Status.COMPUTED,
            found.text,
            value.start,
            value.end,
            places,
            reason,
            min(1.0, result.strength),
        )
    place = literal_place(case.evidence, found.text, isinstance(value, Quantity))
    if place is not None:
        return plainly_held(case, value, place)
    told = told_otherwise(case, found)
    if told is not None:
        return told
    unit = other_unit(case, found, 0.2)
    if unit is not None:
        return unit
    if (
        found.rivals
        and stands_in_place(found)
        and column_is_meant(case, found, found.rivals[0][1])
        and not _scaled(case, found)
        and not asks_for_a_sum(case.plain)
    ):
        fact = conflict(case, found, found.rivals[0][1], kind_of(value), min(0.9, 0.35 + found.rivals[0][0]))
        if fact is not None:
            return fact
    if is_slight(case, value):
        return plainly_held(case, value)
    return Fact(
        kind_of(value),
        Status.ABSENT,
        found.text,
        value.start,
        value.end,
        (),
        _absent_reason(case, found),
        0.6,
    )


def _scaled(case: Case, found: Found) -> bool:
    """Whether a multiple of what stands there may be meant: only where something else is counted as well."""
    counted = len(case.values) > 1 or bool(values_of(case.question, case.language))
    return counted and is_multiple(found)


def _absent_reason(case: Case, found: Found) -> str:
    """What is not in the documents, with as many words as make it true of their text."""
    start, end = found.value.start, found.value.end
    for following in re.finditer(r"\S+", case.statement[end : end + 60]):
        if not stands_anywhere(case.evidence, case.statement[start:end]):
            break
        end = found.value.end + following.end()
    text = " ".join(case.statement[start:end].split()).strip(" *.,;:|")
    if stands_anywhere(case.evidence, text):
        return f"“{text}” stands in the documents, but not for what the answer says of it."
    if isinstance(found.value, Token):
        return f"“{text}” is not in the documents."
    return f"“{text}” is not in the documents, and it was not found to follow from what is."


def _sources(case: Case, result: Result) -> str:
    names = dict.fromkeys(
        case.evidence.units[o.mention.unit].snippet_id for o in result.operands if o.mention is not None
    )
    return " and ".join(names) or "the answer's own numbers"
