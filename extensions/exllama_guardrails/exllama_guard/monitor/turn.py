"""An open turn, as the host's adapter holds it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Protocol

from exllama_guard.core.ports import SupportScorer
from exllama_guard.core.snippets import Snippet
from exllama_guard.core.turns import Acted, Finish, TurnReport, TurnRequest


class Scoring(Protocol):
    """What a turn needs of the one who scores it."""

    pause_s: float  # that a live score is worth, after the first token as after another

    def score_live(self, handle: TurnHandle) -> None:
        """Queues a scoring of the text so far."""
        ...

    def score_final(self, handle: TurnHandle, finish: Finish) -> None:
        """Queues the scoring of the finished reply."""
        ...

    def told(self) -> None:
        """Takes note that a turn has something new to tell."""
        ...

    def score_ahead(self, handle: TurnHandle, text: str, finish: Finish) -> Future[TurnReport]:
        """Scores a whole reply of an open turn, keeping nothing."""
        ...


class TurnHandle:
    """An open turn, as the host's adapter holds it. Not shared between threads of different turns."""

    def __init__(
        self,
        scoring: Scoring,
        request: TurnRequest,
        collect: Callable[[], tuple[Snippet, ...]] | None,
    ) -> None:
        """Made by `Monitor.open_turn`; `collect` finds the snippets later, on the scoring thread."""
        self._scoring = scoring
        self.request = request
        self.collect: Callable[[], tuple[Snippet, ...]] | None = collect or tuple
        self.scorer: SupportScorer | None = None
        self.ahead: Iterator[None] | None = None  # what is left to do before the first live score
        self.text = ""
        self.scored_text = ""
        self.report: TurnReport | None = None
        self.due_at_s = 0.0
        self.scheduled = False
        self.closed = False
        self.acted: Acted | None = None
        self.settled: TurnReport | None = None  # with an opinion that this reply waited for
        self.doing = ""  # what is done beyond writing the answer, one sentence
        self.beside = 0  # other replies that ran while this one did
        self.opened_at_s = time.monotonic()
        self.first_token_s: float | None = None

    def chunk(self, text: str) -> None:
        """Takes the reply's text so far, the whole of it as the host yields it (without `answer_prefix`)."""
        self.text = text
        now = time.monotonic()
        if self.first_token_s is None and text:
            self.first_token_s = now - self.opened_at_s
            self.due_at_s = max(self.due_at_s, now + self._scoring.pause_s)
        if not self.scheduled and now >= self.due_at_s and text:
            self.scheduled = True
            self._scoring.score_live(self)

    def tell(self, doing: str) -> None:
        """Has the panel say, until the turn ends, what is done beyond writing the answer: one sentence."""
        self.doing = doing
        self._scoring.told()

    def score(self, text: str, finish: Finish) -> Future[TurnReport]:
        """The report of `text` as the whole reply, some time soon; the turn stays open."""
        return self._scoring.score_ahead(self, text, finish)

    def close(self, text: str, finish: Finish) -> None:
        """Ends the turn with its final text; a second call does nothing."""
        if self.closed:
            return
        self.closed = True
        self.text = text
        self._scoring.score_final(self, finish)
