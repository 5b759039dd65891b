"""The answer cut into pieces that keep their places while it grows; pure data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from exllama_guard.core.records import ClaimKind, ClaimSupport, Gate, Span, TurnReport
from exllama_guard.panel.rows import Badge
from exllama_guard.panel.words import CLAIM_WORDS, GATE_TONES

_BADGES = {gate: Badge(CLAIM_WORDS[gate], GATE_TONES[gate]) for gate in Gate}


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A piece of the answer. `claim` is its index among the claims, None for text between them.

    `after` is the white space behind it, which is not marked.
    """

    key: str
    text: str
    after: str
    claim: int | None
    badge: Badge | None
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
        _between(rows, report.answer, Span(at, start))
        rows.append(_segment(report.answer[start:end], start, index, claim))
        at = end
    _between(rows, report.answer, Span(at, len(report.answer)))
    return tuple(rows)


def _between(rows: list[SegmentRow], answer: str, span: Span) -> None:
    """Adds the text between two claims: white space to the piece before it, anything else as its own."""
    text = answer[span.start : span.end]
    if not text:
        return
    if rows and text.isspace():
        rows[-1] = replace(rows[-1], after=text)
    else:
        rows.append(SegmentRow(f"g{span.start}", text, "", None, None, False))


def _segment(text: str, start: int, index: int, claim: ClaimSupport) -> SegmentRow:
    counted = claim.kind is ClaimKind.CLAIM
    return SegmentRow(
        key=f"c{start}",
        text=text,
        after="",
        claim=index if counted else None,
        badge=_BADGES[claim.gate] if counted else None,
        code=claim.kind is ClaimKind.CODE,
    )
