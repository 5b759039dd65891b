"""Support of a whole or a growing answer by fixed snippets; claims once scored are remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from exllama_guard.core.ports import Embedder, Verifier
from exllama_guard.core.records import (
    ClaimKind,
    ClaimSupport,
    Evidence,
    Finding,
    Gate,
    NotScored,
    Reason,
    Severity,
    Snippet,
    Span,
    SupportReport,
)
from exllama_guard.core.support.alignment import align, sentences_read
from exllama_guard.core.support.checks import findings_of
from exllama_guard.core.support.claims import Piece, pieces_of
from exllama_guard.core.support.evidence import Encoder, Library
from exllama_guard.core.support.features import Measured, features_of
from exllama_guard.core.support.model import load_weights, variant_for
from exllama_guard.errors import EmbedderError

_MOST_CLAIMS = 400  # of a longer answer the first so many are scored, and the report says so


@dataclass(frozen=True, slots=True)
class _Scored:
    """A claim's outcome with places counted from its own start."""

    support: float
    evidence: Evidence
    findings: tuple[Finding, ...]
    variant: str


class AnswerScorer:
    """Scores one answer against fixed snippets. Keeps prepared snippets and scored claims; for one thread."""

    def __init__(
        self,
        snippets: Sequence[Snippet],
        question: str = "",
        embedder: Embedder | None = None,
        verifier: Verifier | None = None,
        *,
        support_pass: float | None = None,
        support_fail: float | None = None,
        language: str = "en",
    ) -> None:
        """Remembers the snippets; they are prepared at the first score."""
        self._snippets = tuple(snippets)
        self._question = question
        self._embedder = embedder
        self._verifier = verifier
        self._accept = support_pass
        self._reject = support_fail
        self._language = language
        self._library: Library | None = None
        self._encoder = Encoder(embedder)
        self._scored: dict[str, _Scored] = {}

    def score(self, answer: str, *, final: bool = True) -> SupportReport:
        """Support of `answer`; while `final` is False an unfinished last sentence is left out."""
        if not answer.strip():
            return _not_scored(Reason.EMPTY_ANSWER)
        if not self._prepared().sentences:
            return _not_scored(Reason.NO_SNIPPETS)
        pieces = pieces_of(answer, self._language)
        if not final:
            pieces = tuple(piece for piece in pieces if _is_finished(piece, answer))
        claims = tuple(self._claim(piece) for piece in pieces)
        worst = min((claim.support for claim in claims if isinstance(claim.support, float)), default=None)
        if worst is None:
            return SupportReport(NotScored(Reason.NO_CLAIMS), Gate.NOT_MEASURED, None, claims)
        order = (Gate.FAIL, Gate.REVIEW, Gate.PASS)
        gates = [claim.gate for claim in claims]
        return SupportReport(
            worst, next(gate for gate in order if gate in gates), self._supported(pieces), claims
        )

    def _prepared(self) -> Library:
        if self._library is None:
            self._library = Library(self._snippets, self._language, self._encoder)
        return self._library

    def _claim(self, piece: Piece) -> ClaimSupport:
        if piece.kind is not ClaimKind.CLAIM or not any(word.is_content for word in piece.words):
            reason = NotScored(Reason.NO_CLAIMS)
            return ClaimSupport(piece.text, piece.span, piece.kind, reason, Gate.NOT_MEASURED)
        scored = self._scored.get(piece.text)
        if scored is None:
            scored = self._scored[piece.text] = self._measure(piece)
        return ClaimSupport(
            piece.text,
            piece.span,
            piece.kind,
            scored.support,
            self._gate(scored),
            scored.evidence,
            tuple(_moved(finding, piece.span.start) for finding in scored.findings),
        )

    def _measure(self, piece: Piece) -> _Scored:
        library = self._prepared()
        try:
            encoded = self._encoder.encode([(piece.text, piece.words)])
            claim = encoded[0] if encoded else None
            found = library.find(piece.words, claim)
            top = library.encoded(sentences_read(found)) if claim is not None else None
        except EmbedderError:
            self._encoder = Encoder(None)
            self._library = Library(self._snippets, self._language, self._encoder)
            return self._measure(piece)
        measured = Measured(piece.words, found, align(piece.words, library, found, claim, top), piece.text)
        features = features_of(measured, library, self._language)
        variant = variant_for(features)
        text, span = library.text(found.window)
        evidence = Evidence(
            library.snippets[library.owner[found.window.first]].snippet_id,
            span,
            text,
            found.window.overlap,
            found.window.similarity,
        )
        findings = findings_of(measured, library, 0, self._language)
        return _Scored(load_weights(variant).probability(features), evidence, findings, variant)

    def _supported(self, pieces: Sequence[Piece]) -> bool:
        """True when every scored claim lies at or above its model's best cut."""
        scored = [self._scored[piece.text] for piece in pieces if piece.text in self._scored]
        return all(one.support >= load_weights(one.variant).cut for one in scored)

    def _gate(self, scored: _Scored) -> Gate:
        weights = load_weights(scored.variant)
        accept = weights.accept if self._accept is None else self._accept
        reject = weights.reject if self._reject is None else self._reject
        if scored.support >= accept and not any(f.severity is Severity.CONFLICT for f in scored.findings):
            return Gate.PASS
        return Gate.FAIL if scored.support < reject else Gate.REVIEW


def _not_scored(reason: Reason) -> SupportReport:
    return SupportReport(NotScored(reason), Gate.NOT_MEASURED)


def _is_finished(piece: Piece, answer: str) -> bool:
    """True when the answer goes on after the piece's sentence: a later word cannot change it."""
    return bool(answer[piece.sentence_end :].strip())


def _moved(finding: Finding, by: int) -> Finding:
    span = finding.answer_span
    if span is None:
        return finding
    return replace(finding, answer_span=Span(span.start + by, span.end + by))
