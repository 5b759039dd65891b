"""The answer cut into pieces that keep their places while it grows; pure data."""

from __future__ import annotations

from dataclasses import dataclass

from exllama_guard.core.records import ClaimKind, ClaimSupport, Span, TurnReport
from exllama_guard.panel.rows import Badge, claim_reason, number
from exllama_guard.panel.words import CLAIM_WORDS, GATE_TONES


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A piece of the answer. `claim` is its index among the claims, None for text between them."""

    key: str
    text: str
    claim: int | None
    badge: Badge | None
    support: str
    why: str
    code: bool


def segments(report: TurnReport) -> tuple[SegmentRow, ...]:
    """The whole answer in order, cut at its claims; keys keep their place while the answer grows."""
    rows: list[SegmentRow] = []
    at = 0
    order = sorted(range(len(report.support.claims)), key=lambda i: report.support.claims[i].span.start)
    for index in order:
        claim = report.support.claims[index]
        start, end = max(claim.span.start, at), min(claim.span.end, len(report.answer))
        if end <= start:
            continue
        if start > at:
            rows.append(_plain(report.answer, Span(at, start)))
        rows.append(_segment(report.answer[start:end], start, index, claim))
        at = end
    if at < len(report.answer):
        rows.append(_plain(report.answer, Span(at, len(report.answer))))
    return tuple(rows)


def _plain(answer: str, span: Span) -> SegmentRow:
    return SegmentRow(f"g{span.start}", answer[span.start : span.end], None, None, "", "", False)


def _segment(text: str, start: int, index: int, claim: ClaimSupport) -> SegmentRow:
    counted = claim.kind is ClaimKind.CLAIM
    return SegmentRow(
        key=f"c{start}",
        text=text,
        claim=index if counted else None,
        badge=Badge(CLAIM_WORDS[claim.gate], GATE_TONES[claim.gate]) if counted else None,
        support=number(claim.support),
        why=claim_reason(claim),
        code=claim.kind is ClaimKind.CODE,
    )
