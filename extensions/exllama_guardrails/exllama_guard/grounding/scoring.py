"""One turn measured: distances, coverage, support, and the verdict with its reasons. Pure and synchronous."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.core.ports import Embedder, SupportScorer
from exllama_guard.core.snippets import Snippet
from exllama_guard.core.turns import (
    NO_RELEVANCE,
    AnchorKind,
    Coverage,
    Finding,
    Finish,
    Relevance,
    Severity,
    SupportReport,
    TurnReport,
    TurnRequest,
    Verdict,
)
from exllama_guard.grounding.addressed import addressed_findings
from exllama_guard.grounding.citations import find_citations
from exllama_guard.grounding.coverage import measure_coverage
from exllama_guard.grounding.relevance import measure_relevance
from exllama_guard.grounding.similarity import distance_gate, measure_distances, no_distances, zone_of

_NEAR = 0.40  # cosine similarity of a statement and its evidence: ΔS of .60, where a retrieval counts as far


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one turn's verdict; defaults from the seed study (docs/measures.md)."""

    distance_pass: float = 0.45
    distance_fail: float = 0.60
    relevance_limit: float | None = None  # None: the fitted one (grounding/relevance.py)


def score_turn(
    request: TurnRequest,
    answer: str,
    finish: Finish,
    *,
    scorer: SupportScorer,
    embedder: Embedder | None,
    limits: Limits,
    time_to_first_token_s: float | None = None,
    notes: Sequence[str] = (),
) -> TurnReport:
    """The report of one reply, or of its text so far while it streams.

    A given anchor is used as it is; without one the best supporting snippet stands in, marked as a proxy.
    """
    started = time.perf_counter()
    support = scorer.score(answer, final=finish is not Finish.STREAMING)
    if request.nothing is not None and support.support == NotScored(Reason.NO_SNIPPETS):
        support = replace(support, support=request.nothing)
    cited_ids = _cited_ids(answer, request.snippets)
    by_id = {snippet.snippet_id: index for index, snippet in enumerate(request.snippets)}
    cited = tuple(by_id[snippet_id] for snippet_id in cited_ids)
    anchor, kind = _anchor(request, support)
    distances = measure_distances(
        request.question, answer, request.snippets, cited=cited, anchor=anchor, embedder=embedder
    )
    gate = distance_gate(distances.gated, limits.distance_pass, limits.distance_fail)
    about = addressed_findings(request.snippets) if finish is not Finish.STREAMING else ()
    relevance = NO_RELEVANCE
    if finish is not Finish.STREAMING and isinstance(support.support, float):
        relevance = measure_relevance(
            request.question, answer, distances.question_answer, limits.relevance_limit
        )
    return TurnReport(
        request=request,
        answer=answer,
        finish=finish,
        distances=distances,
        coverage=measure_coverage(request.snippets, cited=cited, anchor=anchor, anchor_kind=kind),
        cited_ids=cited_ids,
        support=support,
        zone=zone_of(distances.gated),
        distance_gate=gate,
        verdict=_verdict(support, gate, relevance, finish, about),
        elapsed_s=time.perf_counter() - started,
        time_to_first_token_s=time_to_first_token_s,
        notes=tuple(notes),
        relevance=relevance,
        about_snippets=about,
    )


def with_support(report: TurnReport, support: SupportReport, first: str) -> TurnReport:
    """The report with another reading of its support: the verdict anew, `first` before its reasons."""
    verdict = _verdict(support, report.distance_gate, report.relevance, report.finish, report.about_snippets)
    return replace(report, support=support, verdict=replace(verdict, reasons=(first, *verdict.reasons)))


def unscored_turn(
    request: TurnRequest, answer: str, finish: Finish, reason: Reason, detail: str = ""
) -> TurnReport:
    """The report of a reply that is not an answer, such as a tool call: everything NotScored."""
    why = NotScored(reason, detail)
    return TurnReport(
        request=request,
        answer=answer,
        finish=finish,
        distances=no_distances(why),
        coverage=Coverage(why, why),
        cited_ids=(),
        support=SupportReport(why, Gate.NOT_MEASURED),
        zone=None,
        distance_gate=Gate.NOT_MEASURED,
        verdict=Verdict(Gate.NOT_MEASURED, (_why_not(why),)),
        relevance=Relevance(why, Gate.NOT_MEASURED, why, why),
    )


def _cited_ids(answer: str, snippets: Sequence[Snippet]) -> tuple[str, ...]:
    found = (citation.snippet_id for citation in find_citations(answer, snippets))
    return tuple(dict.fromkeys(snippet_id for snippet_id in found if snippet_id is not None))


def _anchor(request: TurnRequest, support: SupportReport) -> tuple[Snippet | None, AnchorKind | None]:
    """The given anchor, else the snippet that carries the best supported claim."""
    if request.anchor is not None:
        return request.anchor, AnchorKind.GIVEN
    carried = [
        (claim.support, claim.evidence.snippet_id)
        for claim in support.claims
        if isinstance(claim.support, float) and claim.evidence is not None
    ]
    if not carried:
        return None, None
    best = max(carried, key=lambda pair: pair[0])[1]
    anchor = next((snippet for snippet in request.snippets if snippet.snippet_id == best), None)
    return anchor, AnchorKind.PROXY if anchor else None


def _verdict(
    support: SupportReport, distance: Gate, relevance: Relevance, finish: Finish, about: Sequence[Finding]
) -> Verdict:
    """Grounded rests on support (docs/measures.md).

    An answer beside the question turns a pass into a review, and so does a far retrieval where no sentence
    of a snippet is near the answer either. What decided stands first.
    """
    reasons, doubts = list(_reasons(support)), []
    gate = support.gate
    if distance is Gate.FAIL and gate is not Gate.NOT_MEASURED and not _near_its_evidence(support):
        doubts.append("The question is far from the retrieved text (ΔS at or above the limit).")
    if relevance.gate is Gate.REVIEW:
        doubts.append("The answer may be beside the question: it takes up little of what was asked.")
    lowered = gate is Gate.PASS and bool(doubts)
    gate = Gate.REVIEW if lowered else gate
    reasons = doubts + reasons if lowered else reasons + doubts
    if finish in (Finish.STOPPED, Finish.DISCONNECTED, Finish.FAILED):
        reasons.append("The reply ended early; only the text so far was checked.")
    reasons += [finding.message for finding in about]
    return Verdict(gate, tuple(dict.fromkeys(reasons)))


def _near_its_evidence(support: SupportReport) -> bool:
    """Whether a sentence of a snippet is near a statement: one of many subjects is far from any question."""
    near = (claim.evidence.similarity for claim in support.claims if claim.evidence is not None)
    return any(similarity is not None and similarity >= _NEAR for similarity in near)


def _reasons(support: SupportReport) -> list[str]:
    if isinstance(support.support, NotScored):
        return [_why_not(support.support)]
    worst = support.worst
    reasons: list[str] = []
    if worst is not None and worst.gate is not Gate.PASS:
        reasons += [finding.message for finding in worst.findings if finding.severity is not Severity.NOTE]
        if not reasons:
            reasons.append(f"Not in the documents, as far as they were read: “{_shortened(worst.text)}”")
    for claim in support.claims:
        if claim is not worst:
            reasons += [f.message for f in claim.findings if f.severity is Severity.CONFLICT]
    reasons += [finding.message for finding in support.findings]
    if support.gate is Gate.PASS and not reasons:
        counted = sum(1 for claim in support.claims if isinstance(claim.support, float))
        reasons.append(
            "The one statement is supported by the snippets."
            if counted == 1
            else f"All {counted} statements are supported by the snippets."
        )
    return reasons


def _why_not(value: NotScored) -> str:
    if value.reason is Reason.INDEXING and value.detail:
        return value.detail
    said = str(value)
    return _WHY_NOT.get(value.reason, f"{said[:1].upper()}{said[1:].rstrip('.')}.")


def _shortened(text: str, most: int = 120) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


_WHY_NOT = {
    Reason.UNRELATED: "Not about your documents: they do not speak of what was asked.",
    Reason.INDEXING: "The documents are still being indexed; this answer went on without them.",
    Reason.NO_SNIPPETS: "Nothing was retrieved for this question, so there is nothing to check against.",
    Reason.EMPTY_ANSWER: "The reply is empty.",
    Reason.NO_CLAIMS: "The reply states nothing to check (a greeting, a question, a refusal or code).",
    Reason.TOOL_CALL: "The reply is a tool call; its result is checked when the answer follows.",
}
