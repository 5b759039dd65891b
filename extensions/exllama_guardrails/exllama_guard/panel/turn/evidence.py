"""A sentence of the answer beside the snippet that supports it: which words match, which numbers differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby

from exllama_guard.core.snippets import Snippet, Span
from exllama_guard.core.turns import ClaimSupport, FindingKind, Severity, TurnReport
from exllama_guard.panel.turn.rows import Badge, claim_reason, number
from exllama_guard.panel.words import CLAIM_WORDS, GATE_TONES

_WORD = re.compile(r"\w+(?:[.,]\d+)*", re.UNICODE)
_SHORTEST = 4  # letters of a word that is worth marking; shorter ones are mostly articles and prepositions
_AROUND = 220  # characters of a snippet that are shown on each side of what matters
_MOST = 4000  # characters of a snippet that are shown at most


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of a snippet's text and how it is marked: "", "window", "match" or "differs"."""

    text: str
    mark: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What the answer says against what the snippet says, with the reason and its kind."""

    kind: str
    answer: str
    snippet: str
    message: str
    conflict: bool


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """Everything shown beside one sentence of the answer."""

    claim: str
    badge: Badge
    support: str
    reason: str
    snippet_id: str
    source: str
    overlap: str
    similarity: str
    pieces: tuple[Piece, ...]
    differences: tuple[Difference, ...]


def evidence_row(report: TurnReport, index: int) -> EvidenceRow | None:
    """The row of claim `index`, or None where there is no such claim."""
    if not 0 <= index < len(report.support.claims):
        return None
    claim = report.support.claims[index]
    by_id = {snippet.snippet_id: snippet for snippet in report.request.snippets}
    shown_id = _snippet_id(claim)
    snippet = by_id.get(shown_id) if shown_id else None
    found = claim.evidence if snippet and claim.evidence and claim.evidence.snippet_id == shown_id else None
    return EvidenceRow(
        claim=" ".join(claim.text.split()),
        badge=Badge(CLAIM_WORDS[claim.gate], GATE_TONES[claim.gate]),
        support=number(claim.support),
        reason=claim_reason(claim),
        snippet_id=snippet.snippet_id if snippet else "",
        source=snippet.source_url if snippet else "",
        overlap=f"{found.overlap:.0%}" if found else "",
        similarity=f"{found.similarity:.2f}" if found and found.similarity is not None else "",
        pieces=_pieces(claim, snippet) if snippet else (),
        differences=_differences(report, claim, by_id),
    )


def _snippet_id(claim: ClaimSupport) -> str | None:
    """The snippet that contradicts the claim, else the one that supports it best."""
    conflicts = (f.snippet_id for f in claim.findings if f.severity is Severity.CONFLICT)
    return next((i for i in conflicts if i), claim.evidence.snippet_id if claim.evidence else None)


def _differences(
    report: TurnReport, claim: ClaimSupport, by_id: dict[str, Snippet]
) -> tuple[Difference, ...]:
    rows = []
    for finding in claim.findings:
        if finding.severity is Severity.NOTE:
            continue
        snippet = by_id.get(finding.snippet_id or "")
        rows.append(
            Difference(
                kind="not found" if finding.kind is FindingKind.NOT_FOUND else finding.kind.value,
                answer=_cut(report.answer, finding.answer_span),
                snippet=_cut(snippet.text, finding.snippet_span) if snippet else "",
                message=finding.message,
                conflict=finding.severity is Severity.CONFLICT,
            )
        )
    return tuple(rows)


def _cut(text: str, span: Span | None) -> str:
    return " ".join(text[span.start : span.end].split()) if span else ""


def matching_spans(claim: str, text: str, within: Span) -> tuple[Span, ...]:
    """Words of `text` inside `within` that the claim has too: numbers, and words of 4 letters or more."""
    wanted = {word.casefold() for word in _WORD.findall(claim) if _is_telling(word)}
    return tuple(
        Span(match.start(), match.end())
        for match in _WORD.finditer(text, within.start, min(within.end, len(text)))
        if match.group().casefold() in wanted
    )


def _is_telling(word: str) -> bool:
    return len(word) >= _SHORTEST or any(character.isdigit() for character in word)


def _pieces(claim: ClaimSupport, snippet: Snippet) -> tuple[Piece, ...]:
    """The part of the snippet that matters, cut where its marking changes."""
    text = snippet.text
    window = Span(0, 0)
    if claim.evidence and claim.evidence.snippet_id == snippet.snippet_id:
        window = claim.evidence.span
    differs = [
        finding.snippet_span
        for finding in claim.findings
        if finding.snippet_span and finding.snippet_id == snippet.snippet_id
    ]
    places = [span for span in (window, *differs) if len(span)] or [Span(0, 0)]
    start = max(min(span.start for span in places) - _AROUND, 0)
    end = min(max(span.end for span in places) + _AROUND, len(text), start + _MOST)
    marks = [""] * max(end - start, 0)
    layers = (("window", [window]), ("match", matching_spans(claim.text, text, window)), ("differs", differs))
    for mark, spans in layers:
        for span in spans:
            first, last = (min(max(place - start, 0), len(marks)) for place in (span.start, span.end))
            marks[first:last] = [mark] * (last - first)
    before = [Piece("… ", "")] if start > 0 else []
    after = [Piece(" …", "")] if end < len(text) else []
    return (*before, *_runs(text[start:end], marks), *after)


def _runs(text: str, marks: list[str]) -> list[Piece]:
    """The text cut where its mark changes; one mark a character."""
    places = range(len(text))
    return [
        Piece("".join(text[place] for place in run), mark)
        for mark, run in groupby(places, key=marks.__getitem__)
    ]
