"""The facts of one statement against the evidence, as findings for people and numbers for the fit."""

from __future__ import annotations

from collections.abc import Sequence

from exllama_guard.core.snippets import Span
from exllama_guard.core.turns import Finding, FindingKind, Severity
from exllama_guard.grounding.facts.numbers import number_facts
from exllama_guard.grounding.facts.values import Fact, FactKind, Status
from exllama_guard.grounding.facts.words import word_facts
from exllama_guard.grounding.reading import Evidence

_KINDS = {
    FactKind.QUANTITY: FindingKind.NUMBER,
    FactKind.COUNT: FindingKind.NUMBER,
    FactKind.TABLE: FindingKind.NUMBER,
    FactKind.IDENTIFIER: FindingKind.NUMBER,
    FactKind.COMPARATOR: FindingKind.NUMBER,
    FactKind.DATE: FindingKind.DATE,
    FactKind.TIME: FindingKind.DATE,
    FactKind.NAME: FindingKind.NAME,
    FactKind.POLARITY: FindingKind.NEGATION,
    FactKind.OPPOSITE: FindingKind.NEGATION,
    FactKind.QUOTE: FindingKind.QUOTE,
    FactKind.ATTRIBUTION: FindingKind.CITATION,
}
_SEVERITIES = {
    Status.CONFLICT: Severity.CONFLICT,
    Status.ABSENT: Severity.GAP,
    Status.COMPUTED: Severity.NOTE,
}
_NEAR = 8
_MOST_UNITS = 400  # beyond, only the units near the statement are read


def facts_of(
    statement: str, evidence: Evidence, *, question: str = "", before: str = "", language: str = "en"
) -> tuple[Fact, ...]:
    """Every fact of one statement with its standing, numbers first."""
    near = evidence.nearest(f"{statement} {before[-160:]}" if len(statement) < 30 else statement, _NEAR)
    units = evidence.units
    if len(units) > _MOST_UNITS:
        units, near = tuple(units[index] for index in near), tuple(range(len(near)))
    numbers = number_facts(statement, units, near, question=question, before=before, language=language)
    words = word_facts(statement, units, near, question=question, before=before, language=language)
    return (*numbers, *words)


def fact_features(facts: Sequence[Fact]) -> dict[str, float]:
    """Named numbers in [0, 1]: how sure the gravest conflict and gap are, how well held values stand."""

    def most(status: Status, wordy: bool) -> float:
        return max(
            (f.weight for f in facts if f.status is status and (f.kind in _WORDY) is wordy), default=0.0
        )

    held = [f.weight for f in facts if f.status is Status.HELD]
    return {
        "number_conflict": most(Status.CONFLICT, wordy=False),
        "word_conflict": most(Status.CONFLICT, wordy=True),
        "number_absent": most(Status.ABSENT, wordy=False),
        "word_absent": most(Status.ABSENT, wordy=True),
        "computed": most(Status.COMPUTED, wordy=False),
        "weakly_held": 1.0 - min(held, default=1.0),
        "doubt": max((f.doubt for f in facts), default=0.0),
    }


_WORDY = frozenset(
    {
        FactKind.NAME,
        FactKind.POLARITY,
        FactKind.MODALITY,
        FactKind.ATTRIBUTION,
        FactKind.ROLE,
        FactKind.OPPOSITE,
        FactKind.QUOTE,
        FactKind.SCOPE,
        FactKind.ORDER,
    }
)


def findings_of_facts(facts: Sequence[Fact], evidence: Evidence) -> tuple[Finding, ...]:
    """A finding for each fact that has a reason, conflicts first; places count from the statement's start."""
    out = []
    for fact in facts:
        if fact.status is Status.HELD or not fact.reason:
            continue
        place = next((p for p in fact.places if p.unit < len(evidence.placed)), None)
        snippet_id = span = None
        if place is not None:
            unit = evidence.placed[place.unit]
            snippet_id = unit.unit.snippet_id
            span = Span(unit.span.start + place.start, unit.span.start + place.end)
        kind = _KINDS.get(fact.kind, FindingKind.COMPARISON)
        answer_span = Span(fact.start, max(fact.start, fact.end))
        out.append(Finding(kind, _SEVERITIES[fact.status], fact.reason, answer_span, snippet_id, span))
    order = (Severity.CONFLICT, Severity.GAP, Severity.NOTE)
    return tuple(sorted(out, key=lambda finding: order.index(finding.severity)))
