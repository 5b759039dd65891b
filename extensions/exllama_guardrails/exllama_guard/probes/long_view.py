"""The long run of a chat for a panel that asks often: what costs time is remembered by turn."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from exllama_guard.core.measures import Measure, NotScored, Reason
from exllama_guard.core.ports import Embedder
from exllama_guard.core.turns import TurnReport
from exllama_guard.errors import EmbedderError
from exllama_guard.probes.measures.long_run import LongRun, long_run_of, topic_loss_of

__all__ = ["MEASURING", "LongView"]

_KEPT = 500  # turns whose topic loss is remembered
_RUNS_KEPT = 16  # chats whose run is remembered, so that asking again costs nothing
_WITHIN_S = 0.3  # embedding of one call; the rest is done by the next ones

MEASURING = NotScored(Reason.NOT_ENOUGH_DATA, "being measured")


class LongView:
    """Thread-safe; the lock protects what is remembered, never while embedding."""

    def __init__(self, embedder: Callable[[], Embedder], window: Callable[[], int]) -> None:
        """Remembers nothing yet."""
        self._embedder, self._window = embedder, window
        self._lock = threading.Lock()
        self._topic: OrderedDict[str, Measure] = OrderedDict()
        self._runs: list[tuple[tuple[TurnReport, ...], int, LongRun]] = []

    def run(self, turns: Sequence[TurnReport]) -> LongRun:
        """The chat of the last of `turns` (newest first); topic losses may still be `MEASURING`."""
        chat = tuple(turn for turn in turns[::-1] if turn.request.chat_id == turns[0].request.chat_id)
        window = self._window()
        with self._lock:
            known = next((run for key, w, run in self._runs if w == window and _same(key, chat)), None)
        if known is not None:
            return known
        until_s = time.monotonic() + _WITHIN_S
        run = long_run_of(chat, window, lambda turn: self._topic_loss(turn, until_s))
        with self._lock:
            if all(turn.request.turn_id in self._topic for turn in chat):
                self._runs = [(chat, window, run), *self._runs[: _RUNS_KEPT - 1]]
        return run

    def _topic_loss(self, turn: TurnReport, until_s: float) -> Measure:
        id_ = turn.request.turn_id
        with self._lock:
            known = self._topic.get(id_)
        if known is not None:
            return known
        if time.monotonic() > until_s:
            return MEASURING
        try:
            loss = topic_loss_of(turn, self._embedder())
        except EmbedderError as error:
            return NotScored(Reason.EMBEDDER_FAILED, str(error))
        with self._lock:
            self._topic[id_] = loss
            while len(self._topic) > _KEPT:
                self._topic.popitem(last=False)
        return loss


def _same(first: Sequence[TurnReport], second: Sequence[TurnReport]) -> bool:
    """Whether both hold the very same reports."""
    return len(first) == len(second) and all(a is b for a, b in zip(first, second, strict=True))
