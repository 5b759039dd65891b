"""The long run of a chat for a panel that asks often: what costs an embedding is remembered by turn."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from exllama_guard.core.long_run import LongRun, long_run_of, topic_loss_of
from exllama_guard.core.ports import Embedder
from exllama_guard.core.records import Measure, NotScored, Reason, TurnReport
from exllama_guard.errors import EmbedderError

__all__ = ["LongView"]

_KEPT = 500  # turns whose topic loss is remembered


class LongView:
    """Thread-safe; the lock protects what is remembered, never while embedding."""

    def __init__(self, embedder: Callable[[], Embedder], window: Callable[[], int]) -> None:
        """Remembers nothing yet."""
        self._embedder, self._window = embedder, window
        self._lock = threading.Lock()
        self._topic: OrderedDict[str, Measure] = OrderedDict()

    def run(self, turns: Sequence[TurnReport]) -> LongRun:
        """The chat of the last of `turns`, which stand newest first."""
        chat = [turn for turn in turns[::-1] if turn.request.chat_id == turns[0].request.chat_id]
        return long_run_of(chat, self._window(), self._topic_loss)

    def _topic_loss(self, turn: TurnReport) -> Measure:
        id_ = turn.request.turn_id
        with self._lock:
            known = self._topic.get(id_)
        if known is not None:
            return known
        try:
            loss = topic_loss_of(turn, self._embedder())
        except EmbedderError as error:
            return NotScored(Reason.EMBEDDER_FAILED, str(error))
        with self._lock:
            self._topic[id_] = loss
            while len(self._topic) > _KEPT:
                self._topic.popitem(last=False)
        return loss
