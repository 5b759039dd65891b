"""What the core asks of the outside: narrow protocols, each with one contract suite over all adapters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from exllama_guard.core.measures import FloatArray, NotScored
from exllama_guard.core.snippets import Snippet
from exllama_guard.core.turns import SupportReport, TurnReport


class Embedder(Protocol):
    """Turns texts into unit vectors. Thread-safe."""

    @property
    def id(self) -> str:
        """Name that is stored with every distance, such as `all-MiniLM-L6-v2`."""
        ...

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Shape (n, d) float32; each row has length 1, or 0 for a text without content.

        A text longer than the model's window is split and its parts' vectors averaged by length, never cut.

        Raises:
            EmbedderError: The model is missing or failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """A text's own vector and the vectors of its word pieces, in context, in order.

    `sentence` has shape (d,), `tokens` (n, d), both float32 with rows of length 1 (0 without content);
    `offsets` has shape (n, 2), int32: the characters [start, end) of the text that a piece covers.
    """

    sentence: FloatArray
    tokens: FloatArray
    offsets: npt.NDArray[np.int32]


@runtime_checkable
class TokenEmbedder(Embedder, Protocol):
    """An embedder that also gives the vectors of word pieces. Optional: it makes support better."""

    def embed_tokens(self, texts: Sequence[str]) -> tuple[TokenVectors, ...]:
        """One entry a text; pieces beyond the model's window are left out.

        Raises:
            EmbedderError: The model is missing or failed.
        """
        ...


@runtime_checkable
class QuestionEmbedder(Embedder, Protocol):
    """An embedder at which a question on the path of a reply goes before everything that waits. Optional."""

    def embed_question(self, text: str) -> FloatArray:
        """Shape (d,): the vector that `embed` gives; it waits for one other text at most.

        Raises:
            EmbedderError: The model is missing or failed, or does not answer in time.
        """
        ...


class Verifier(Protocol):
    """Says whether evidence entails or contradicts a claim. Optional, slow, asked in one batch."""

    @property
    def id(self) -> str:
        """Name that is stored with a verdict."""
        ...

    def entailment(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """Shape (n, 3): P(contradiction), P(neutral), P(entailment) of each (evidence, claim); rows sum to 1.

        Raises:
            VerifierError: The model is missing or failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader says of the first n statements of an answer; more were too long for it.

    `judged` has shape (n, 4), float32: logits of contradicted, absent, supported, claims nothing. `words`
    has shape (n,): the logit that its most doubtful word is not supported. `about` is the logit that the
    evidence bears on the question; None without a question.
    """

    judged: FloatArray
    words: FloatArray
    about: float | None


class AnswerReader(Protocol):
    """Reads a whole answer beside its evidence. Optional, slow, asked once about a finished answer."""

    @property
    def id(self) -> str:
        """Name that is stored with a verdict."""
        ...

    def read(self, evidence: str, question: str, statements: Sequence[str]) -> Reading:
        """What the evidence says of each statement, in the answer's order.

        Raises:
            VerifierError: The model is missing or failed.
        """
        ...


class SupportScorer(Protocol):
    """Scores one answer, whole or growing, against fixed snippets; remembers claims it has scored."""

    def prepare(self) -> Iterator[None]:
        """Reads the snippets ahead, a little at each step; what fails or is left out, `score` makes up."""
        ...

    def score(self, answer: str, *, final: bool) -> SupportReport:
        """Support of `answer`; while `final` is False an unfinished last sentence is left out."""
        ...


@runtime_checkable
class ReadingScorer(SupportScorer, Protocol):
    """A scorer that can have a finished answer read by a slow reader."""

    def read(self, answer: str) -> bool:
        """Has the whole answer read; True where a score made now differs from the one before.

        Raises:
            VerifierError: The reader is missing or failed; scores stay as they are.
        """
        ...


class TraceSink(Protocol):
    """Keeps finished reports."""

    def write(self, report: TurnReport) -> None:
        """Stores the report.

        Raises:
            TraceError: It could not be stored; the message says where and what to do.
        """
        ...


class LaterReading(Protocol):
    """May read a finished turn again at a later time, when nobody waits for anything."""

    def take(self, report: TurnReport) -> bool:
        """True where it will give the turn back later, once (`Monitor.give_back`); returns at once."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """What a search gave: snippets, or why there are none (None where nothing was looked for)."""

    snippets: tuple[Snippet, ...] = ()
    nothing: NotScored | None = None


NOTHING_ASKED = Found()


class Retriever(Protocol):
    """Finds snippets for a question."""

    @property
    def index_hash(self) -> str:
        """Hash of what is searched: embedder, splitting, texts."""
        ...

    def retrieve(self, question: str, k: int) -> tuple[Snippet, ...]:
        """At most `k` snippets, best first, whether or not they bear on the question."""
        ...

    def search(self, question: str, earlier: Sequence[str], k: int) -> Found:
        """At most `k` snippets that bear on the question, best first; else why there are none.

        `earlier` are the user's messages before it, oldest first: a question may lean on them.
        """
        ...

    def lookup(self, text: str) -> Snippet | None:
        """The indexed snippet with exactly this text; None where there is none."""
        ...
