"""A turn's report as plain rows of words and numbers for people; no markup, no gradio."""

from __future__ import annotations

from dataclasses import dataclass

from exllama_guard.core.measures import Gate, Measure, NotScored, Reason, Zone
from exllama_guard.core.turns import Action, AnchorKind, ClaimKind, ClaimSupport, Finish, Severity, TurnReport
from exllama_guard.panel.fitted import fitted_limit, support_limits
from exllama_guard.panel.words import (
    EXPLANATIONS,
    GATE_TONES,
    GATE_WORDS,
    NAMES,
    PROXY_NOTE,
    REASON_WORDS,
    ZONE_TONES,
)
from exllama_guard.settings import Settings

_DONE = {Action.REPAIR: "Answered again. ", Action.REFUSE: "Not shown in the chat. "}

GAUGE_TOP = 1.0  # ΔS reaches 2, but texts of one language practically never pass 1


@dataclass(frozen=True, slots=True)
class Badge:
    """A verdict in a word and a tone (pass, review, fail, none); the tone picks icon and colour."""

    word: str
    tone: str


@dataclass(frozen=True, slots=True)
class GaugeRow:
    """A distance on its scale. `at`, `accept` and `reject` are shares of the scale's length, [0, 1]."""

    value: str
    zone: str
    tone: str
    at: float | None
    accept: float
    reject: float
    spoken: str


@dataclass(frozen=True, slots=True)
class GlanceRow:
    """The one line: verdict, ΔS, support, and the worst sentence with why (or what the verdict rests on)."""

    badge: Badge
    gauge: GaugeRow
    support: str
    sentence: str
    reason: str
    streaming: bool


@dataclass(frozen=True, slots=True)
class MeasureRow:
    """One number with its limits in words, its outcome and its plain explanation."""

    key: str
    name: str
    value: str
    limits: str
    badge: Badge | None
    explanation: str


@dataclass(frozen=True, slots=True)
class SnippetRow:
    """A snippet with its id, origin and its distances to the question and the answer."""

    snippet_id: str
    source: str
    section: str
    origin: str
    tokens: int
    to_question: str
    to_answer: str
    tone: str
    cited: bool
    derived: str
    text: str


def number(value: Measure | None) -> str:
    """Two decimals, or `not measured: reason`; never 0 for a value that is missing."""
    if value is None:
        return "not measured"
    if isinstance(value, NotScored):
        return f"not measured: {why_not(value)}"
    return f"{value:.2f}"


def why_not(value: NotScored) -> str:
    """The reason in plain words, with its detail where there is one."""
    return REASON_WORDS.get(value.reason, value.reason.value) + (f" ({value.detail})" if value.detail else "")


def badge(gate: Gate) -> Badge:
    """A gate's word and tone."""
    return Badge(GATE_WORDS[gate], GATE_TONES[gate])


def gauge(value: Measure, zone: Zone | None, settings: Settings, *, counts: bool = True) -> GaugeRow:
    """The gated ΔS on a scale from 0 to 1 with both limits; beyond 1 the mark stays at the end.

    Where it does not count (`counts` false) it is shown without a colour, and so without blame.
    """
    accept, reject = settings.distance_pass, settings.distance_fail
    limits = f"accepted up to {accept:.2f}, rejected from {reject:.2f}"
    places = (min(accept / GAUGE_TOP, 1.0), min(reject / GAUGE_TOP, 1.0))
    if isinstance(value, NotScored) or zone is None:
        text = number(value)
        return GaugeRow("–", "", "none", None, *places, spoken=f"{text}; {limits}")
    tone = ZONE_TONES[zone] if counts else "none"
    at = min(max(value / GAUGE_TOP, 0.0), 1.0)
    return GaugeRow(
        f"{value:.2f}", zone.value, tone, at, *places, spoken=f"{value:.2f}, {zone.value}; {limits}"
    )


def glance(report: TurnReport, settings: Settings) -> GlanceRow:
    """The one line of a turn, or of the text so far while it streams."""
    streaming = report.finish is Finish.STREAMING
    worst = report.support.worst
    shown = worst is not None and worst.gate in (Gate.FAIL, Gate.REVIEW)
    early = streaming and isinstance(report.support.support, NotScored) and bool(report.request.snippets)
    reasons = ("The first sentence is still being written.",) if early else report.verdict.reasons
    why = claim_reason(worst) if shown and worst is not None else (reasons[0] if reasons else "")
    if _was_moved(report):
        why = report.verdict.reasons[0]  # both verdicts, and what the loaded model said
    done = _DONE.get(report.acted.done, "") if report.acted is not None else ""
    return GlanceRow(
        badge=Badge("Measuring", "none") if early else badge(report.verdict.gate),
        gauge=gauge(report.distances.gated, report.zone, settings, counts=not _is_unrelated(report)),
        support=number(report.support.support) if isinstance(report.support.support, float) else "–",
        sentence=_one_line(worst.text) if shown and worst is not None else "",
        reason=done + why,
        streaming=streaming,
    )


def _is_unrelated(report: TurnReport) -> bool:
    """Whether the reply is not about the snippets, so that their distance to the question blames nobody."""
    support = report.support.support
    return isinstance(support, NotScored) and support.reason is Reason.UNRELATED


def _was_moved(report: TurnReport) -> bool:
    """Whether the loaded model has settled a statement of the answer."""
    opinion = report.second_reader
    return opinion is not None and any(one.before is not one.after for one in opinion.statements)


def claim_reason(claim: ClaimSupport) -> str:
    """Why a sentence stands where it stands, in one plain sentence."""
    for severity in (Severity.CONFLICT, Severity.GAP):
        for finding in claim.findings:
            if finding.severity is severity:
                return finding.message
    if claim.kind is not ClaimKind.CLAIM:
        return f"A {claim.kind.value}: there is nothing to check."
    if isinstance(claim.support, NotScored):
        return f"Not checked: {why_not(claim.support)}."
    if claim.gate is Gate.PASS:
        return "The snippets say this."
    if claim.evidence is None:
        return "No snippet says this."
    return "The snippets say only part of this."


def measures(report: TurnReport, settings: Settings) -> tuple[MeasureRow, ...]:
    """Every number of the turn, the gating ones first."""
    distances = report.distances
    proxy = report.coverage.anchor_kind is AnchorKind.PROXY
    beside = settings.relevance_limit
    answer_side = distances.answer_context
    limits = f"pass ≤ {settings.distance_pass:.2f}, fail ≥ {settings.distance_fail:.2f}"
    which = (
        "of the cited snippets" if isinstance(distances.question_context.cited, float) else "first snippet"
    )
    nearest = answer_side.cited if isinstance(answer_side.cited, float) else answer_side.min
    return (
        _row(
            "support",
            report.support.support,
            support_limits(settings.support_pass, settings.support_fail),
            report.support.gate,
        ),
        _row(
            "question_context",
            distances.gated,
            f"{limits}; {which}",
            None if _is_unrelated(report) else report.distance_gate,
        ),
        _row(
            "coverage",
            report.coverage.coverage,
            f"pass ≥ {settings.coverage_pass:.2f}",
            _at_least(report.coverage.coverage, settings.coverage_pass, proxy),
            PROXY_NOTE if proxy else "",
        ),
        _row(
            "bleed",
            report.coverage.bleed,
            f"pass ≤ {settings.bleed_pass:.2f}",
            _at_most(report.coverage.bleed, settings.bleed_pass, proxy),
        ),
        _row(
            "relevance",
            report.relevance.relevance,
            f"pass ≥ {fitted_limit('relevance_limit') if beside is None else f'{beside:.2f}'}",
            report.relevance.gate,
        ),
        _row("answer_context", nearest, "no limit", None),
        _row("answer_anchor", distances.answer_anchor, "no limit", None, PROXY_NOTE if proxy else ""),
        _row("context_anchor", distances.context_anchor, "no limit", None, PROXY_NOTE if proxy else ""),
        _row("question_answer", distances.question_answer, "no limit", None),
    )


def _row(key: str, value: Measure, limits: str, gate: Gate | None, note: str = "") -> MeasureRow:
    outcome = badge(Gate.NOT_MEASURED) if isinstance(value, NotScored) else badge(gate) if gate else None
    explanation = EXPLANATIONS[key] + (f" {note}" if note and not isinstance(value, NotScored) else "")
    return MeasureRow(key, NAMES[key], number(value), limits, outcome, explanation)


def _at_least(value: Measure, limit: float, proxy: bool) -> Gate | None:
    """PASS from `limit`, else FAIL; a stand-in anchor may not pass a gate, so it gives none then."""
    if isinstance(value, NotScored):
        return Gate.NOT_MEASURED
    if value >= limit:
        return None if proxy else Gate.PASS
    return Gate.REVIEW if proxy else Gate.FAIL


def _at_most(value: Measure, limit: float, proxy: bool) -> Gate | None:
    """PASS up to `limit`, else REVIEW; bleed alone fails nothing."""
    if isinstance(value, NotScored):
        return Gate.NOT_MEASURED
    if value <= limit:
        return None if proxy else Gate.PASS
    return Gate.REVIEW


def snippet_rows(report: TurnReport) -> tuple[SnippetRow, ...]:
    """The turn's snippets in the order in which the model saw them."""
    rows = []
    distances = report.distances
    for index, snippet in enumerate(report.request.snippets):
        question = _at(distances.question_context.each, index)
        answer = _at(distances.answer_context.each, index)
        rows.append(
            SnippetRow(
                snippet_id=snippet.snippet_id,
                source=snippet.source_url,
                section=snippet.section_id,
                origin=f"{snippet.origin.value}, {snippet.trust.value}",
                tokens=snippet.tokens,
                to_question=number(question),
                to_answer=number(answer),
                tone="none",
                cited=snippet.snippet_id in report.cited_ids,
                derived=", ".join(sorted(snippet.derived)),
                text=snippet.text,
            )
        )
    return tuple(rows)


def _at(values: tuple[Measure, ...], index: int) -> Measure | None:
    return values[index] if index < len(values) else None


def facts(report: TurnReport) -> tuple[tuple[str, str], ...]:
    """What is known about the turn besides its numbers, as label and value."""
    request = report.request
    model = request.model
    rows = [
        ("Model", f"{model.name} ({model.loader})" if model else "none"),
        ("Came by", request.channel.value + (", regenerated" if request.regenerate else "")),
        ("Reply", report.finish.value),
        ("Embedder", report.distances.embedder_id or "none"),
        ("Checked in", f"{report.elapsed_s * 1000:.0f} ms"),
    ]
    if report.time_to_first_token_s is not None:
        rows.append(("First token after", f"{report.time_to_first_token_s:.2f} s"))
    return tuple(rows)


def _one_line(text: str) -> str:
    return " ".join(text.split())
