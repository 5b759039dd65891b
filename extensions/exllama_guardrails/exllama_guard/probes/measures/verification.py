"""Verify: each gold question in three forms, ΔS and coverage within their limits in every one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exllama_guard.core.measures import Gate, Measure, NotScored, Reason
from exllama_guard.core.ports import Embedder
from exllama_guard.core.snippets import Snippet
from exllama_guard.core.turns import AnchorKind
from exllama_guard.grounding import distance_gate, find_citations, measure_coverage, measure_distances
from exllama_guard.probes.gold import GoldItem
from exllama_guard.probes.measures.limits import RetrievalLimits

__all__ = ["FormResult", "ItemResult", "item_result", "measure_form", "overall"]


@dataclass(frozen=True, slots=True)
class FormResult:
    """One form of a question. `answer` is None where no model was asked."""

    form: str
    distance: Measure  # ΔS(question, cited or first snippet)
    coverage: Measure
    answer: str | None
    distance_gate: Gate
    coverage_gate: Gate

    @property
    def gate(self) -> Gate:
        """The worse of both; not measured is never a pass."""
        return _worst((self.distance_gate, self.coverage_gate))


@dataclass(frozen=True, slots=True)
class ItemResult:
    """One gold item over its forms: passes only where all of them do."""

    id: str
    gate: Gate
    forms: tuple[FormResult, ...]
    reason: str


_ORDER = (Gate.FAIL, Gate.REVIEW, Gate.NOT_MEASURED, Gate.PASS)


def _worst(gates: Sequence[Gate]) -> Gate:
    return min(gates, key=_ORDER.index, default=Gate.NOT_MEASURED)


def measure_form(
    item: GoldItem,
    form: str,
    snippets: Sequence[Snippet],
    answer: str | None,
    *,
    embedder: Embedder | None,
    limits: RetrievalLimits,
) -> FormResult:
    """ΔS and coverage of one form; the cited snippets count where an answer cites, else all."""
    found = {citation.snippet_id for citation in find_citations(answer or "", snippets)}
    cited = [index for index, snippet in enumerate(snippets) if snippet.snippet_id in found]
    distances = measure_distances(
        form, answer or "", snippets, cited=cited, anchor=item.anchor, embedder=embedder
    )
    coverage = measure_coverage(
        snippets, cited=cited, anchor=item.anchor, anchor_kind=AnchorKind.GIVEN if item.anchor else None
    ).coverage
    return FormResult(
        form=form,
        distance=distances.gated,
        coverage=coverage,
        answer=answer,
        distance_gate=distance_gate(distances.gated, limits.distance_pass, limits.distance_fail),
        coverage_gate=_coverage_gate(coverage, limits),
    )


def _coverage_gate(coverage: Measure, limits: RetrievalLimits) -> Gate:
    if isinstance(coverage, NotScored):
        return Gate.NOT_MEASURED
    return Gate.PASS if coverage >= limits.coverage_pass else Gate.FAIL


def item_result(item: GoldItem, forms: Sequence[FormResult], planned: int) -> ItemResult:
    """The item's verdict; fewer forms than planned (stopped) is not measured unless one failed already."""
    gate = _worst([form.gate for form in forms])
    if gate in (Gate.PASS, Gate.NOT_MEASURED) and len(forms) < planned:
        why = NotScored(Reason.STOPPED, f"{len(forms)} of {planned} forms")
        return ItemResult(item.id, Gate.NOT_MEASURED, tuple(forms), str(why))
    return ItemResult(item.id, gate, tuple(forms), _reason(forms, gate))


def _reason(forms: Sequence[FormResult], gate: Gate) -> str:
    if gate is Gate.PASS:
        return f"ΔS and coverage pass in all {len(forms)} forms."
    worst = next((form for form in forms if form.gate is gate), None)
    if worst is None:
        return "There was nothing to measure."
    return f"“{worst.form}”: ΔS {_shown(worst.distance)}, coverage {_shown(worst.coverage)}."


def _shown(value: Measure) -> str:
    return str(value) if isinstance(value, NotScored) else f"{value:.3f}"


def overall(results: Sequence[ItemResult]) -> Gate:
    """The worst of all items."""
    return _worst([result.gate for result in results])
