"""The second opinion of a finished turn: which statements are asked about, and what may change."""

from __future__ import annotations

import time
from dataclasses import replace

from exllama_guard.core.measures import Gate, NotScored
from exllama_guard.core.turns import (
    ClaimSupport,
    FindingKind,
    ReadStatement,
    SecondOpinion,
    Severity,
    SupportReport,
    TurnReport,
)
from exllama_guard.grounding import with_support
from exllama_guard.second_reader.joining import Join, Signals
from exllama_guard.second_reader.model import LoadedReader
from exllama_guard.second_reader.signals import contrast_of, judge
from exllama_guard.second_reader.window import window_of

__all__ = ["read_again", "undecided"]

_MOST_ASKED = 4  # the least supported: an answer is its worst statement
_NEXT_TO_NOTHING = 0.15  # share of the wording in the evidence below which nothing passes
_LEANS = 0.2  # log-odds of the judge, below which it says neither
_WORDS = {Gate.PASS: "Pass", Gate.REVIEW: "Review", Gate.FAIL: "Fail"}


def undecided(report: TurnReport) -> tuple[ClaimSupport, ...]:
    """The statements between the limits, at most four, the least supported first."""
    open_ = [
        claim
        for claim in report.support.claims
        if claim.gate is Gate.REVIEW and isinstance(claim.support, float) and claim.evidence is not None
    ]
    return tuple(sorted(open_, key=lambda claim: claim.support)[:_MOST_ASKED])  # type: ignore[arg-type,return-value]


def read_again(report: TurnReport, reader: LoadedReader, join: Join) -> TurnReport:
    """The report with what the loaded model says; the verdict changes where the joined score passes a point.

    Raises:
        BackendError: The model is gone or failed.
        Stopped: The reading was ended.
    """
    started_s, tokens = time.perf_counter(), reader.prompt_tokens
    read: dict[ClaimSupport, ReadStatement] = {}
    for claim in undecided(report):
        one = _read(report, claim, reader, join)
        if one is not None:
            read[claim] = one
    if not read:
        return report
    claims = tuple(
        replace(claim, support=read[claim].support, gate=read[claim].after) if claim in read else claim
        for claim in report.support.claims
    )
    support = _with(report.support, claims)
    opinion = SecondOpinion(
        model=reader.name,
        before=report.verdict.gate,
        after=report.verdict.gate,
        statements=tuple(read.values()),
        prompt_tokens=reader.prompt_tokens - tokens,
        took_ms=(time.perf_counter() - started_s) * 1000,
    )
    if all(one.before is one.after for one in read.values()):
        return replace(report, second_reader=opinion)
    settled = with_support(report, support, "")
    opinion = replace(opinion, after=settled.verdict.gate)
    return replace(with_support(report, support, sentence(opinion)), second_reader=opinion)


def sentence(opinion: SecondOpinion) -> str:
    """Such as `Review → Pass: your model reads s2 as supporting this (0.94)`, as a sentence."""
    moved = [one for one in opinion.statements if one.before is not one.after]
    said = "; ".join(
        f"your model reads {one.snippet_id} as {_supporting(one)} “{_shortened(one.text)}” "
        f"({one.support:.2f})"
        for one in moved
    )
    if opinion.before is opinion.after:
        return f"Still {_WORDS.get(opinion.after, opinion.after.value)}: {said}."
    before, after = (_WORDS.get(gate, gate.value) for gate in (opinion.before, opinion.after))
    return f"{before} → {after}: {said}."


def _supporting(one: ReadStatement) -> str:
    return "supporting" if one.after is Gate.PASS else "not supporting"


def _shortened(text: str, most: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _read(report: TurnReport, claim: ClaimSupport, reader: LoadedReader, join: Join) -> ReadStatement | None:
    """What the model says of one statement; None where it gave no number."""
    evidence, first = claim.evidence, claim.support
    if evidence is None or isinstance(first, NotScored):
        return None
    text = window_of(report.request.snippets, evidence)
    judged = judge(reader, text, claim.text)
    if isinstance(judged, NotScored):
        return None
    contrast = contrast_of(reader, text, report.request.question, claim.text)
    least = contrast if isinstance(contrast, NotScored) else contrast.least
    entropy = contrast if isinstance(contrast, NotScored) else contrast.entropy
    support = join.support(Signals(first, judged, least))
    after = _gate(claim, support, judged, join)
    return ReadStatement(
        claim.text, evidence.snippet_id, first, judged, least, entropy, support, claim.gate, after
    )


def _gate(claim: ClaimSupport, support: float, judged: float, join: Join) -> Gate:
    """Passes or fails beyond the points; what a check has found, and what stands nowhere, never passes.

    Only where the model itself leans that way: one that always says yes leans nowhere.
    """
    if join.reject is not None and support < join.reject and judged <= -_LEANS:
        return Gate.FAIL
    if join.accept is None or support < join.accept or judged < _LEANS:
        return claim.gate
    nowhere = claim.evidence is None or claim.evidence.overlap < _NEXT_TO_NOTHING
    return (
        claim.gate if nowhere or any(_must_be_seen(f.kind, f.severity) for f in claim.findings) else Gate.PASS
    )


def _must_be_seen(kind: FindingKind, severity: Severity) -> bool:
    if severity is Severity.CONFLICT:
        return True
    return severity is Severity.GAP and kind not in (FindingKind.NUMBER, FindingKind.DATE)


def _with(support: SupportReport, claims: tuple[ClaimSupport, ...]) -> SupportReport:
    """The whole answer's support with these claims: as supported as the worst of them."""
    counted = [claim for claim in claims if isinstance(claim.support, float)]
    gates = [claim.gate for claim in counted]
    gate = next((gate for gate in (Gate.FAIL, Gate.REVIEW, Gate.PASS) if gate in gates), support.gate)
    worst = min((claim.support for claim in counted if isinstance(claim.support, float)), default=None)
    if (
        support.findings
        and gate is Gate.PASS
        and any(f.severity is not Severity.NOTE for f in support.findings)
    ):
        gate = Gate.REVIEW  # what concerns the answer as a whole is not for the model to settle
    return replace(support, support=support.support if worst is None else worst, gate=gate, claims=claims)
