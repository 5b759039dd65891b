"""Fakes for tests of this extension and of others that build on it; each passes its port's contract suite."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from exllama_guard.backends.fake import FakeBackend
from exllama_guard.core.measures import FloatArray, Gate, NotScored, Reason
from exllama_guard.core.ports import Embedder, Retriever, SupportScorer, TraceSink, Verifier
from exllama_guard.core.snippets import Snippet, Span, words
from exllama_guard.core.turns import (
    ClaimKind,
    ClaimSupport,
    Evidence,
    Finish,
    SupportReport,
    TurnReport,
    TurnRequest,
)
from exllama_guard.grounding import Limits, score_turn
from exllama_guard.monitor import Monitor, Parts, ReportProblem
from exllama_guard.settings import Settings

__all__ = [
    "FakeBackend",
    "FakeEmbedder",
    "ListTrace",
    "OverlapScorer",
    "ReadingBackend",
    "UndecidedScorer",
    "make_monitor",
    "scored",
]

_WIDTH = 512


class ReadingBackend(FakeBackend):
    """A model whose next word is Yes with the probability that `says` gives for the whole prompt.

    A token is a character, so that the prompt can be read; every text is equally likely beside any other.
    """

    def __init__(self, says: Callable[[str], float], wait: Callable[[], None] = lambda: None) -> None:
        """Calls `wait` before each answer; `says` may give NaN."""
        super().__init__()
        self.says, self.wait = says, wait
        self.asked: list[str] = []

    def token_ids(self, text: str) -> tuple[int, ...]:
        """One token a character, its code point."""
        self._check()
        return tuple(ord(letter) for letter in text)

    def next_logprobs(self, ids: Sequence[int], wanted: Sequence[int]) -> FloatArray | NotScored:
        """Yes and No share the whole; anything else is next to impossible."""
        self._check()
        self.asked.append("".join(chr(token) for token in ids))
        self.wait()
        yes = self.says(self.asked[-1])
        shares = {**dict.fromkeys(map(ord, "Yy"), yes / 2), **dict.fromkeys(map(ord, "Nn"), (1.0 - yes) / 2)}
        return np.log(np.array([shares.get(token, 1e-9) for token in wanted], dtype=np.float32))


class FakeEmbedder:
    """Bag of words: texts with the same words have distance 0, texts without a common word distance 1."""

    id = "fake-bag-of-words"

    def __init__(self, error: Exception | None = None) -> None:
        """Raises `error` at each use where one is given."""
        self.error = error
        self.calls = 0

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Shape (n, 512) float32; each word adds 1 on the axis that its checksum names."""
        self.calls += 1
        if self.error is not None:
            raise self.error
        rows = np.zeros((len(texts), _WIDTH), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in words(text):
                row[zlib.crc32(word.encode("utf-8", "replace")) % _WIDTH] += 1.0
        lengths = np.linalg.norm(rows, axis=1, keepdims=True).astype(np.float32)
        np.divide(rows, lengths, out=rows, where=lengths > 0)
        return rows


class OverlapScorer:
    """Support of the whole answer as one claim: the share of its words that the snippets hold."""

    def __init__(self, snippets: Sequence[Snippet]) -> None:
        """Remembers the snippets' words."""
        self._snippets = tuple(snippets)
        self._known = {word for snippet in snippets for word in words(snippet.text)}

    def prepare(self) -> Iterator[None]:
        """Nothing to do."""
        return iter(())

    def score(self, answer: str, *, final: bool) -> SupportReport:
        """PASS from 0.5, FAIL below."""
        said = words(answer)
        if not self._snippets or not said:
            reason = Reason.NO_SNIPPETS if not self._snippets else Reason.EMPTY_ANSWER
            return SupportReport(NotScored(reason), Gate.NOT_MEASURED)
        support = sum(word in self._known for word in said) / len(said)
        gate = Gate.PASS if support >= 0.5 else Gate.FAIL
        claim = ClaimSupport(answer, Span(0, len(answer)), ClaimKind.CLAIM, support, gate)
        return SupportReport(support, gate, supported=gate is Gate.PASS, claims=(claim,))


class UndecidedScorer:
    """Every answer is one claim between the limits, beside the whole first snippet."""

    def __init__(self, snippets: Sequence[Snippet], support: float = 0.5) -> None:
        """The claim's support is always `support`."""
        self._snippets, self._support = tuple(snippets), support

    def prepare(self) -> Iterator[None]:
        """Nothing to do."""
        return iter(())

    def score(self, answer: str, *, final: bool) -> SupportReport:
        """REVIEW, or NOT_MEASURED where there is no snippet."""
        if not self._snippets or not words(answer):
            return OverlapScorer(self._snippets).score(answer, final=final)
        first = self._snippets[0]
        evidence = Evidence(first.snippet_id, Span(0, len(first.text)), first.text, 0.8)
        span = Span(0, len(answer))
        claim = ClaimSupport(answer, span, ClaimKind.CLAIM, self._support, Gate.REVIEW, evidence)
        return SupportReport(self._support, Gate.REVIEW, supported=False, claims=(claim,))


class ListTrace:
    """Keeps reports in a list."""

    def __init__(self, error: Exception | None = None) -> None:
        """Raises `error` at each write where one is given."""
        self.error = error
        self.reports: list[TurnReport] = []

    def write(self, report: TurnReport) -> None:
        """Appends the report."""
        if self.error is not None:
            raise self.error
        self.reports.append(report)


def scored(request: TurnRequest, answer: str) -> TurnReport:
    """The report of a complete answer, over fakes and with the limits of docs/measures.md."""
    scorer = OverlapScorer(request.snippets)
    return score_turn(
        request, answer, Finish.COMPLETE, scorer=scorer, embedder=FakeEmbedder(), limits=Limits()
    )


def make_monitor(
    settings: Settings | None = None,
    *,
    embedder: Embedder | None = None,
    verifier: Verifier | None = None,
    trace: TraceSink | None = None,
    knowledge: Retriever | None = None,
    scorer: Callable[[Sequence[Snippet], str], SupportScorer] | None = None,
) -> Monitor:
    """A monitor over fakes; each part can be replaced by a real one."""

    def make_parts(settings: Settings, before: Parts | None, report: ReportProblem) -> Parts:
        return Parts(embedder or FakeEmbedder(), verifier, trace, knowledge)

    def make_scorer(
        snippets: Sequence[Snippet], question: str, parts: Parts, settings: Settings
    ) -> SupportScorer:
        return scorer(snippets, question) if scorer else OverlapScorer(snippets)

    return Monitor(settings or Settings(), make_parts=make_parts, make_scorer=make_scorer)
