"""The answer cut into pieces that keep their places while it grows; pure data."""

from __future__ import annotations

from dataclasses import dataclass

from exllama_guard.core.measures import Gate
from exllama_guard.core.turns import ClaimKind, ClaimSupport, TurnReport
from exllama_guard.panel.turn.rows import Badge
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
    answer, claims = report.answer, report.support.claims
    length = len(answer)
    rows: list[SegmentRow] = []
    at = 0
    cuts: list[tuple[int, int, int]] = []
    for index in sorted(range(len(claims)), key=lambda i: claims[i].span.start):
        start, end = max(claims[index].span.start, at), min(claims[index].span.end, length)
        if end > start:
            cuts.append((start, end, index))
            at = end
    if not cuts or cuts[0][0] > 0:
        first = cuts[0][0] if cuts else length
        if first:
            rows.append(_plain(answer, 0, first))
    for place, (start, end, index) in enumerate(cuts):
        then = cuts[place + 1][0] if place + 1 < len(cuts) else length
        between = answer[end:then]
        spaced = between.isspace()
        rows.append(_segment(answer[start:end], between if spaced else "", start, index, claims[index]))
        if between and not spaced:
            rows.append(_plain(answer, end, then))
    return tuple(rows)


def _plain(answer: str, start: int, end: int) -> SegmentRow:
    return SegmentRow(f"g{start}", answer[start:end], "", None, None, False)


def _segment(text: str, after: str, start: int, index: int, claim: ClaimSupport) -> SegmentRow:
    """A claim's own text, and the white space behind it."""
    counted = claim.kind is ClaimKind.CLAIM
    return SegmentRow(
        key=f"c{start}",
        text=text,
        after=after,
        claim=index if counted else None,
        badge=_BADGES[claim.gate] if counted else None,
        code=claim.kind is ClaimKind.CODE,
    )
