"""What the core asks of the outside: narrow protocols, each with one contract suite over all adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from exllama_guard.core.records import FloatArray, Snippet, SupportReport, TurnReport


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


class SupportScorer(Protocol):
    """Scores one answer, whole or growing, against fixed snippets; remembers claims it has scored."""

    def score(self, answer: str, *, final: bool) -> SupportReport:
        """Support of `answer`; while `final` is False an unfinished last sentence is left out."""
        ...


class TraceSink(Protocol):
    """Keeps finished reports."""

    def write(self, report: TurnReport) -> None:
        """Stores the report.

        Raises:
            TraceError: It could not be stored; the message says where and what to do.
        """
        ...


class Retriever(Protocol):
    """Finds snippets for a question."""

    @property
    def index_hash(self) -> str:
        """Hash of what is searched: embedder, splitting, texts."""
        ...

    def retrieve(self, question: str, k: int) -> tuple[Snippet, ...]:
        """At most `k` snippets, nearest first."""
        ...
