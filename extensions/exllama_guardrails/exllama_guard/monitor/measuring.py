"""One turn measured where it is called: its snippets read step by step, its reply scored and read."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from exllama_guard.core.measures import Reason
from exllama_guard.core.ports import ReadingScorer, SupportScorer
from exllama_guard.core.snippets import encodable
from exllama_guard.core.turns import Finish, TurnReport, TurnRequest
from exllama_guard.errors import EmbedderError
from exllama_guard.grounding import Limits, answer_of, embed_ahead, is_tool_call, score_turn, unscored_turn
from exllama_guard.monitor.parts import MakeScorer, Parts
from exllama_guard.monitor.stopping import stopping
from exllama_guard.settings import Settings

__all__ = ["TurnHere"]


class TurnHere:
    """Measures one turn on the thread that asks; see `TurnScorer`."""

    def __init__(
        self,
        request: TurnRequest,
        parts: Parts,
        settings: Settings,
        stop: threading.Event | None,
        *,
        make_scorer: MakeScorer,
    ) -> None:
        """Nothing is read before the first call."""
        self.worked_s = 0.0
        self._request = request
        self._parts = parts if stop is None else stopping(parts, stop)
        self._settings = settings
        self._make_scorer = make_scorer
        self._scorer: SupportScorer | None = None
        self._ahead: Iterator[None] | None = None
        self._is_read = False

    def prepare(self, budget_s: float) -> bool:
        """Reads the snippets ahead; True once all is read."""
        started_s = time.thread_time()
        if self._ahead is None:
            self._ahead = self._steps()
        while not self._is_read:
            self._is_read = next(self._ahead, self) is self  # a step gives None
            if time.thread_time() - started_s >= budget_s:
                break
        self.worked_s = time.thread_time() - started_s
        return self._is_read

    def score(self, reply: str, finish: Finish) -> TurnReport:
        """The report of the reply, whole or so far."""
        started_s = time.thread_time()
        report = self._scored(reply, finish)
        self.worked_s = time.thread_time() - started_s
        return report

    def read(self, reply: str, finish: Finish) -> TurnReport | None:
        """The report once the reader has read the reply; None without one, or where it changes nothing.

        Raises:
            VerifierError: The reader is missing or failed; scores stay as they are.
        """
        scorer = self._scorer_of()
        if self._parts.reader is None or is_tool_call(reply) or not isinstance(scorer, ReadingScorer):
            return None
        return self._scored(reply, finish) if scorer.read(self._answer(reply)) else None

    def forget(self) -> None:
        """Lets go of what was kept."""
        self._scorer = self._ahead = None
        self._is_read = False

    def _answer(self, reply: str) -> str:
        return encodable(answer_of(self._request.answer_prefix + reply))

    def _scored(self, reply: str, finish: Finish) -> TurnReport:
        answer = self._answer(reply)
        if is_tool_call(reply):
            return unscored_turn(self._request, answer, finish, Reason.TOOL_CALL)
        settings = self._settings
        return score_turn(
            self._request,
            answer,
            finish,
            scorer=self._scorer_of(),
            embedder=self._parts.embedder,
            limits=Limits(settings.distance_pass, settings.distance_fail, settings.relevance_limit),
        )

    def _scorer_of(self) -> SupportScorer:
        if self._scorer is None:
            self._scorer = self._make_scorer(
                self._request.snippets, self._request.question, self._parts, self._settings
            )
        return self._scorer

    def _steps(self) -> Iterator[None]:
        """What a first score would have to do; `score_turn` makes up for what is left out."""
        yield from self._scorer_of().prepare()
        embedder = self._parts.embedder
        if embedder is not None and self._request.snippets:
            with suppress(EmbedderError):  # told by the score itself
                yield from embed_ahead(self._request.question, self._request.snippets, embedder)
