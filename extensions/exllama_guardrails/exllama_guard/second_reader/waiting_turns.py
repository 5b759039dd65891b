"""Finished turns that wait for the loaded model's opinion, and the one thread that asks for it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from exllama_guard.core.turns import TurnReport
from exllama_guard.second_reader.right_of_way import Over

__all__ = ["Spawn", "WaitingTurns"]

_MOST = 8  # turns that may wait; beyond, the oldest goes without an opinion
_LONGEST_S = 600.0  # that a turn waits, and its trace with it

Spawn = Callable[[Callable[[], None]], None]
Read = Callable[[TurnReport, Over], TurnReport]


class WaitingTurns:
    """Turns in their order; each is given back once, with an opinion or without. Thread-safe.

    The lock protects the queue; it is never held while reading or giving back.
    """

    def __init__(self, read: Read, give_back: Callable[[TurnReport], None], spawn: Spawn) -> None:
        """`read` gives the report with what the model says, or as it was where its reading was over."""
        self._read, self._give_back, self._spawn = read, give_back, spawn
        self._lock = threading.Lock()
        self._queue: deque[tuple[TurnReport, float]] = deque()  # and until when it may wait
        self._working = False
        self._round = 0  # how often all were let go

    @property
    def working(self) -> bool:
        """Whether a turn is read about or waits."""
        return self._working

    def add(self, report: TurnReport) -> None:
        """Has the model asked about the turn once it is idle."""
        oldest = None
        with self._lock:
            self._queue.append((report, time.monotonic() + _LONGEST_S))
            if len(self._queue) > _MOST:
                oldest = self._queue.popleft()[0]
            start, self._working = not self._working, True
        if oldest is not None:
            self._give_back(oldest)
        if start:
            self._spawn(self._work)

    def let_go(self) -> None:
        """Gives every turn back without an opinion; the one that is read about, after its prompt."""
        with self._lock:
            self._round += 1
            left = [report for report, _ in self._queue]
            self._queue.clear()
        for report in left:
            self._give_back(report)

    def _work(self) -> None:
        done = False
        try:
            while (item := self._next()) is not None:
                self._ask(*item)
            done = True
        finally:  # a fault in a loader's adapter: it is not asked again and again
            if not done:
                with self._lock:
                    self._working = False
                self.let_go()

    def _next(self) -> tuple[TurnReport, Over] | None:
        with self._lock:
            if not self._queue:
                self._working = False
                return None
            report, until_s = self._queue.popleft()
            now = self._round
        return report, lambda: self._round != now or time.monotonic() > until_s

    def _ask(self, report: TurnReport, over: Over) -> None:
        settled = report
        try:
            settled = self._read(report, over)
        finally:
            self._give_back(settled)
