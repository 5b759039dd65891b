"""Support of a whole or a growing answer by fixed snippets; claims once scored are remembered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.core.ports import AnswerReader, Embedder, Verifier
from exllama_guard.core.snippets import Snippet, Span
from exllama_guard.core.turns import (
    ClaimKind,
    ClaimSupport,
    Evidence,
    Finding,
    FindingKind,
    Severity,
    SupportReport,
)
from exllama_guard.errors import EmbedderError, VerifierError
from exllama_guard.grounding.phrases import Phrase, pattern
from exllama_guard.grounding.reading import Evidence as Read
from exllama_guard.grounding.support.alignment import align, sentences_read
from exllama_guard.grounding.support.answer_checks import (
    bare_number_findings,
    citation_findings,
)
from exllama_guard.grounding.support.checks import findings_of
from exllama_guard.grounding.support.claims import Piece, pieces_of
from exllama_guard.grounding.support.disagreement import disagreements
from exllama_guard.grounding.support.evidence import Encoder, Library
from exllama_guard.grounding.support.fact_checks import fact_features, facts_of, findings_of_facts
from exllama_guard.grounding.support.features import Measured, features_of
from exllama_guard.grounding.support.joint import Joint, load_joint, wording
from exllama_guard.grounding.support.language import language_of
from exllama_guard.grounding.support.markup import without_markup
from exllama_guard.grounding.support.model import Weights, load_weights, probability, variant_for
from exllama_guard.grounding.support.reader_word import ReaderWord, words_of_reader
from exllama_guard.grounding.support.text import words_of
from exllama_guard.grounding.talk import talk_of

_MOST_CLAIMS = 400  # of a longer answer the first so many are scored; the report says so
_MOST_ASKED = 4  # claims a verifier is asked about, the least supported: an answer is its worst claim
_CONTRADICTS = 0.9  # probability from which a verifier's contradiction is named
_NEXT_TO_NOTHING = 0.15  # share of telling words that stand in the snippets, below which nothing passes
_SURE = 0.7  # weight from which a conflict alone fails a statement: 3 of 100 good answers hold one
_READ_WORDS = 240  # words of the snippets that a reader is given: about 350 tokens
_UNRELATED = 0.0  # log-odds below which a reader says that the snippets do not bear on the question
_TALKS = 0.6  # confidence from which a message asks nothing of documents, by its form
_MOST_COMPARED = 48  # sentences a question is held against
_NOT_NEAR = 0.45  # cosine of question and snippet below which such a message has nothing to do with them
# Cosine below which a question, and each statement of its answer, is about something else: below it lie 3
# of 195 right ordinary answers (a, b) and 77 of 84 replies to talk beside snippets (chat-b).
_FAR = 0.40
_VERY_FAR = 0.30  # where a statement without a number passes by chance
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class _Scored:
    """A claim's outcome with places counted from its own start."""

    logit: float  # the lexical model's log-odds
    weights: Weights
    embedded: bool
    features: dict[str, float]  # of the facts, and how much of the wording is held
    known: float  # share of its telling words that stand in the snippets
    evidence: Evidence
    findings: tuple[Finding, ...]
    reading: str  # what a verifier is given to read
    verified: bool = False
    read: ReaderWord | None = None

    @property
    def joint(self) -> Joint:
        return load_joint(self.embedded, self.read is not None)

    @property
    def stands_nowhere(self) -> bool:
        """Whether next to none of the wording is in the snippets, and no reader has read it."""
        return self.read is None and self.known < _NEXT_TO_NOTHING

    @property
    def conflict(self) -> float:
        """How sure the gravest conflict of a fact is, [0, 1]."""
        return max(self.features["number_conflict"], self.features["word_conflict"])

    @property
    def support(self) -> float:
        """Probability [0, 1] that the snippets support the claim."""
        return self.joint.support(self.joint_features())

    def joint_features(self) -> dict[str, float]:
        """By name, what the joint model weighs."""
        read = self.read.features() if self.read else {}
        return {**self.features, "wording": wording(self.logit), **read}


def counts(piece: Piece) -> bool:
    """True for a piece that is scored: a claim with telling words, or one that says what is not there."""
    if piece.kind is ClaimKind.REFUSAL:
        return bool(piece.absent)  # it says what the documents do not hold
    return piece.kind is ClaimKind.CLAIM and any(word.is_content or word.is_number for word in piece.words)


def measure(pieces: Sequence[Piece], library: Library, encoder: Encoder) -> Iterator[Measured]:
    """Each piece beside its evidence; all are encoded in one batch. Needs a library with a sentence.

    Raises:
        EmbedderError: The embedder is missing or failed.
    """
    encoded = encoder.encode([(piece.text, piece.words) for piece in pieces])
    for index, piece in enumerate(pieces):
        claim = encoded[index] if encoded else None
        found = library.find(piece.words, claim)
        top = library.encoded(sentences_read(found)) if claim is not None else None
        yield Measured(piece.words, found, align(piece.words, library, found, claim, top), piece.text)


def measure_pieces(
    answer: str, library: Library, encoder: Encoder, language: str
) -> list[tuple[Piece, dict[str, float]]]:
    """Every scored piece of `answer` with its features: what the weights are fitted on.

    Raises:
        EmbedderError: The embedder is missing or failed.
    """
    pieces = [
        piece for piece in pieces_of(answer, language) if counts(piece) and piece.kind is ClaimKind.CLAIM
    ]
    return [
        (piece, features_of(one, library, findings_of(one, library, 0, language), language))
        for piece, one in zip(pieces, measure(pieces, library, encoder), strict=True)
    ]


class AnswerScorer:
    """Scores one answer against fixed snippets. Keeps prepared snippets and scored claims; for one thread."""

    def __init__(
        self,
        snippets: Sequence[Snippet],
        question: str = "",
        embedder: Embedder | None = None,
        verifier: Verifier | None = None,
        *,
        reader: AnswerReader | None = None,
        support_pass: float | None = None,
        support_fail: float | None = None,
        weights: Weights | None = None,
    ) -> None:
        """Remembers the snippets; they are prepared at the first score.

        Args:
            snippets: What the answer must rest on.
            question: The user's question; helps to tell the language.
            embedder: Gives similarities; without one only words are compared, by weights fitted for that.
            verifier: Asked about undecided claims of a finished answer, in one batch.
            reader: Reads a finished answer when `read` is called.
            support_pass: Support from which a claim passes; None: the fitted point.
            support_fail: Support below which a claim fails; None: the fitted point.
            weights: Other weights than those shipped, for benchmarks.
        """
        self._snippets = tuple(snippets)
        self._question = question
        self._asked: frozenset[str] = frozenset()  # stems of the question's telling words
        self._verifier = verifier
        self._reader = reader
        self._about: float | None = None  # what the reader says of question and snippets
        self._accept = support_pass
        self._reject = support_fail
        self._weights = weights
        self._encoder = Encoder(embedder)
        self._library: Library | None = None
        self._read: Read | None = None
        self._unverified = ""  # why the verifier was not used
        self._language = "en"
        self._scored: dict[str, _Scored] = {}

    def prepare(self) -> Iterator[None]:
        """Cuts and encodes the snippets ahead, step by step; `score` tells of an embedder that fails."""
        library = self._prepared()
        yield
        self._prepared_facts()
        yield
        with suppress(EmbedderError):
            yield from library.encode_ahead()
            if self._question.strip():
                self._nearest()

    def score(self, answer: str, *, final: bool = True) -> SupportReport:
        """Support of `answer`; while `final` is False an unfinished last sentence is left out.

        The verifier is asked only when `final`.
        """
        if not answer.strip():
            return _not_scored(Reason.EMPTY_ANSWER)
        library = self._prepared()
        if not library.sentences:
            return _not_scored(Reason.NO_SNIPPETS)
        plain, pieces = self._pieces(answer)
        if not final:
            pieces = tuple(piece for piece in pieces if plain[piece.sentence_end :].strip())
        counted = [piece for piece in pieces if counts(piece)]
        notes = _too_long(counted)
        counted = counted[:_MOST_CLAIMS]
        self._measure([piece for piece in counted if piece.text not in self._scored], plain)
        if final:
            self._verify(counted)
        counted = [piece for piece in counted if not self._is_aside(piece)]
        scored = {piece.span: self._scored[piece.text] for piece in counted}
        claims = tuple(self._claim(answer, piece, scored.get(piece.span)) for piece in pieces)
        if final and self._is_unrelated(claims):
            return SupportReport(NotScored(Reason.UNRELATED), Gate.NOT_MEASURED, None, _unscored(claims))
        whole = (
            *notes,
            *self._told(),
            *citation_findings(answer, self._snippets, claims),
            *self._disagreements(counted),
        )
        worst = min((claim.support for claim in claims if isinstance(claim.support, float)), default=None)
        if worst is None:
            return SupportReport(NotScored(Reason.NO_CLAIMS), Gate.NOT_MEASURED, None, claims, whole)
        gates = [claim.gate for claim in claims]
        gate = next(gate for gate in (Gate.FAIL, Gate.REVIEW, Gate.PASS) if gate in gates)
        if notes and gate is Gate.PASS:
            gate = Gate.REVIEW  # what was not checked cannot pass
        supported = all(one.support >= one.joint.points.cut for one in scored.values())
        return SupportReport(worst, gate, supported, claims, whole)

    def read(self, answer: str) -> bool:
        """Has the reader read the whole answer; True where a score made now differs from the one before.

        Raises:
            VerifierError: The reader is missing or failed; scores stay as they are.
        """
        if self._reader is None or not answer.strip() or not self._prepared().sentences:
            return False
        plain, pieces = self._pieces(answer)
        told = [piece for piece in pieces if piece.kind is not ClaimKind.CODE]
        counted = [piece for piece in told if counts(piece)]
        if not counted or all(one.read for p in counted if (one := self._scored.get(p.text)) is not None):
            return False
        self._measure([piece for piece in counted if piece.text not in self._scored], plain)
        asked = [piece.text for piece in told]
        evidence = self._prepared_facts().reading([*asked, self._question], _READ_WORDS)
        reading = self._reader.read(evidence, self._question, asked)
        self._about = reading.about
        for piece, word in zip(told, words_of_reader(reading), strict=False):
            if piece.text in self._scored:
                self._scored[piece.text] = replace(self._scored[piece.text], read=word)
        return True

    def weighed(self, answer: str) -> dict[Span, tuple[str, dict[str, float]]]:
        """By place, each scored statement of `answer` without its markup, and what is weighed of it."""
        _, pieces = self._pieces(answer)
        scored = ((piece, self._scored.get(piece.text)) for piece in pieces)
        return {piece.span: (piece.text, one.joint_features()) for piece, one in scored if one is not None}

    def _pieces(self, answer: str) -> tuple[str, tuple[Piece, ...]]:
        plain = without_markup(answer, self._snippets)
        return plain, pieces_of(plain, self._language)

    def _is_aside(self, piece: Piece) -> bool:
        """Whether a piece states nothing by itself and no fact of it speaks against that.

        A bare yes or no, which the statement behind it spells out; what the reader takes for courtesy.
        """
        one = self._scored[piece.text]
        if any(finding.severity is not Severity.NOTE for finding in one.findings) or _has_number(piece):
            return False
        return _is_yes_or_no(piece.text) or (one.read is not None and one.read.is_aside)

    def _is_unrelated(self, claims: Sequence[ClaimSupport]) -> bool:
        """Whether the message asks nothing of the snippets, by its form and distance, or by the reader.

        A message without such a form is one where neither it nor any statement of the answer is near a
        sentence of the snippets; a statement that passes all the same is near enough, but for the farthest.
        """
        if not self._question.strip():
            return False
        passing = [claim.text for claim in claims if claim.gate is Gate.PASS]
        if self._about is not None:
            return self._about < _UNRELATED and not passing
        talks = talk_of(self._question).confidence >= _TALKS
        stated = _nearest_statement(claims)
        if not talks and stated >= _FAR:
            return False
        nearest = self._nearest()
        if nearest is None:
            return talks and not passing
        far = max(nearest, stated)
        if far < _FAR:
            by_chance = far < _VERY_FAR and not any(map(_DIGIT.search, passing))
            return talks or not passing or by_chance
        return talks and not passing and nearest < _NOT_NEAR

    def _nearest(self) -> float | None:
        """Highest cosine of the question to a sentence of the snippets; None without an embedder."""
        library = self._prepared()
        try:
            asked = self._encoder.encode([(self._question, words_of(self._question))])
            sentences = library.encoded(range(min(len(library.sentences), _MOST_COMPARED)))
        except EmbedderError:
            return None
        if not asked or not sentences:
            return None
        return max(float(one.sentence @ asked[0].sentence) for one in sentences)

    def _prepared_facts(self) -> Read:
        if self._read is None:
            self._prepared()
            self._read = Read(self._snippets, self._language)
        return self._read

    def _prepared(self) -> Library:
        if self._library is None:
            sample = " ".join([self._question, *(snippet.text[:500] for snippet in self._snippets[:8])])
            self._language = language_of(sample)
            self._asked = frozenset(
                w.stem for w in words_of(self._question) if w.is_content and not w.is_number
            )
            self._library = Library(self._snippets, self._language, self._encoder)
        return self._library

    def _measure(self, pieces: Sequence[Piece], plain: str) -> None:
        """Scores pieces that were not scored before; without the embedder where it fails."""
        if not pieces:
            return
        library = self._prepared()
        try:
            measured = list(measure(pieces, library, self._encoder))
        except EmbedderError:
            self._encoder = Encoder(None)
            self._library = library = Library(self._snippets, self._language, self._encoder)
            measured = list(measure(pieces, library, self._encoder))
        for piece, one in zip(pieces, measured, strict=True):
            self._scored[one.text] = self._outcome(piece, one, library, plain[: piece.span.start])

    def _outcome(self, piece: Piece, measured: Measured, library: Library, before: str) -> _Scored:
        window = measured.found.window
        findings = findings_of(measured, library, 0, self._language)
        read = self._prepared_facts()
        facts = facts_of(piece.text, read, question=self._question, before=before, language=self._language)
        joined = {**fact_features(facts), "held": read.held(piece.text)}
        if piece.kind is ClaimKind.REFUSAL:  # its words are about what is not there
            joined = {**joined, "number_absent": 0.0, "word_absent": 0.0, "weakly_held": 0.0, "held": 1.0}
        features = features_of(measured, library, findings, self._language)
        weights = self._weights or load_weights(variant_for(features))
        text, span = library.text(window)
        snippet_id = library.snippets[library.owner[window.first]].snippet_id
        return _Scored(
            0.0 if piece.kind is ClaimKind.REFUSAL else weights.logit(features),
            weights,
            "cosine" in features,
            joined,
            1.0 if piece.kind is ClaimKind.REFUSAL else read.known(piece.text),
            Evidence(snippet_id, span, text, min(1.0, window.overlap), window.similarity),
            (
                *findings_of_facts(facts, read),
                *bare_number_findings(measured, library, self._asked, self._language),
            ),
            library.reading(measured.found),
        )

    def _verify(self, pieces: Sequence[Piece]) -> None:
        """Asks the verifier about the least supported undecided claims; changes nothing where it fails."""
        if self._verifier is None:
            return
        undecided = [text for text in dict.fromkeys(p.text for p in pieces) if _undecided(self._scored[text])]
        undecided = sorted(undecided, key=lambda text: self._scored[text].logit)[:_MOST_ASKED]
        if not undecided:
            return
        try:
            said = self._verifier.entailment([(self._scored[text].reading, text) for text in undecided])
        except VerifierError as error:
            self._unverified = str(error)
            return
        self._unverified = ""
        for text, (contradiction, _, entailment) in zip(undecided, said.tolist(), strict=True):
            one = self._scored[text]
            findings = one.findings
            if contradiction >= _CONTRADICTS:
                where = one.evidence.snippet_id
                message = f"The verifier reads snippet {where} as contradicting this."
                place = Span(0, len(text))
                found = Finding(FindingKind.VERIFIER, Severity.GAP, message, place, where, one.evidence.span)
                findings = (*findings, found)
            logit = one.weights.joined(one.logit, entailment)
            self._scored[text] = replace(one, logit=logit, findings=findings, verified=True)

    def _claim(self, answer: str, piece: Piece, scored: _Scored | None) -> ClaimSupport:
        text = answer[piece.span.start : piece.span.end]
        if scored is None:
            reason = NotScored(Reason.SHED if counts(piece) else Reason.NO_CLAIMS)
            return ClaimSupport(text, piece.span, piece.kind, reason, Gate.NOT_MEASURED)
        return ClaimSupport(
            text,
            piece.span,
            piece.kind,
            scored.support,
            self._gate(scored),
            scored.evidence,
            tuple(_moved(finding, piece.span.start) for finding in scored.findings),
        )

    def _gate(self, scored: _Scored) -> Gate:
        points = scored.joint.points
        accept = points.accept if self._accept is None else self._accept
        reject = points.reject if self._reject is None else self._reject
        support = scored.support
        if support < reject or scored.conflict >= _SURE:
            return Gate.FAIL
        clean = (
            scored.conflict == 0.0
            and not (scored.stands_nowhere and self._accept is None)
            and not any(_must_be_seen(finding) for finding in scored.findings)
        )
        return Gate.PASS if support >= accept and clean else Gate.REVIEW

    def _told(self) -> tuple[Finding, ...]:
        """Says of a verifier that was not used why."""
        said = f"Verifier not used: {self._unverified}"
        return (Finding(FindingKind.VERIFIER, Severity.NOTE, said),) if self._unverified else ()

    def _disagreements(self, pieces: Sequence[Piece]) -> tuple[Finding, ...]:
        windows = [self._scored[piece.text].evidence for piece in pieces]
        return disagreements(windows, self._prepared(), self._language)


def _nearest_statement(claims: Sequence[ClaimSupport]) -> float:
    """Highest cosine of a statement and its evidence; 1 where none was measured."""
    found = [claim.evidence.similarity for claim in claims if claim.evidence is not None]
    return max((one for one in found if one is not None), default=1.0)


def _is_yes_or_no(text: str) -> bool:
    bare = text.strip(" .!。！,，।")
    return any(pattern(phrase).fullmatch(bare) for phrase in (Phrase.YES, Phrase.NO))


def _undecided(scored: _Scored) -> bool:
    rule = scored.weights.verifier
    return not scored.verified and rule.ask_from <= probability(scored.logit) <= rule.ask_to


def _must_be_seen(finding: Finding) -> bool:
    """Whether a finding keeps a statement from passing."""
    return finding.severity is Severity.GAP


def _has_number(piece: Piece) -> bool:
    return any(word.is_number for word in piece.words)


def _unscored(claims: Sequence[ClaimSupport]) -> tuple[ClaimSupport, ...]:
    """The claims of a reply that has nothing to do with the snippets: none is measured."""
    why = NotScored(Reason.UNRELATED)
    return tuple(
        replace(claim, support=why, gate=Gate.NOT_MEASURED, evidence=None, findings=())
        if isinstance(claim.support, float)
        else claim
        for claim in claims
    )


def _too_long(pieces: Sequence[Piece]) -> tuple[Finding, ...]:
    if len(pieces) <= _MOST_CLAIMS:
        return ()
    message = f"The answer makes {len(pieces)} statements; the first {_MOST_CLAIMS} were checked."
    return (Finding(FindingKind.NOT_FOUND, Severity.NOTE, message),)


def _not_scored(reason: Reason) -> SupportReport:
    return SupportReport(NotScored(reason), Gate.NOT_MEASURED)


def _moved(finding: Finding, by: int) -> Finding:
    span = finding.answer_span
    if span is None:
        return finding
    return replace(finding, answer_span=Span(span.start + by, span.end + by))
