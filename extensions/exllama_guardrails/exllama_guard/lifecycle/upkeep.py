"""Looks after the loaded model's cache: counts replies, rotates, and measures drift when asked."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from exllama_guard.core.backend import Backend
from exllama_guard.errors import BackendError
from exllama_guard.lifecycle.drift import measure_drift
from exllama_guard.lifecycle.kv_cache import Cause, DriftReport
from exllama_guard.lifecycle.notices import Notices, Spawn
from exllama_guard.lifecycle.path import GenerationPath
from exllama_guard.lifecycle.rotation import Rotated, Rotation
from exllama_guard.settings import Settings

__all__ = ["Upkeep", "UpkeepSnapshot"]

_WAITING_REPLIES = 256  # replies that may wait to be counted; older ones are dropped


@dataclass(frozen=True, slots=True)
class UpkeepSnapshot:
    """The cache's part of what the panel shows."""

    tokens_since_reset: int = 0
    last_rotation: Rotated | None = None
    drift: DriftReport | None = None
    drift_progress: float | None = None  # share done while a measurement runs
    drift_text: str = ""


class Upkeep:
    """Works for one backend at a time. Thread-safe; the lock protects the queue and what is shown."""

    def __init__(
        self, settings: Callable[[], Settings], path: GenerationPath, notices: Notices, spawn: Spawn
    ) -> None:
        """Has nothing to look after yet."""
        self._settings, self._path, self._notices, self._spawn = settings, path, notices, spawn
        self._lock = threading.Lock()
        self._backend: Backend | None = None
        self._rotation = Rotation()
        self._replies: deque[tuple[str, str, float | None]] = deque(maxlen=_WAITING_REPLIES)
        self._counting = False
        self._drift_cancel = threading.Event()
        self._shown = UpkeepSnapshot()

    def take(self, backend: Backend | None) -> None:
        """Looks after `backend` from now on; everything about the one before is dropped."""
        self._drift_cancel.set()
        with self._lock:
            self._backend = backend
            self._replies.clear()
            self._shown = UpkeepSnapshot()
        self._rotation.started_anew()

    def snapshot(self) -> UpkeepSnapshot:
        """What is known now."""
        with self._lock:
            return replace(self._shown, tokens_since_reset=self._rotation.tokens)

    @property
    def counting_s(self) -> float:
        """Seconds spent counting since the load, off the replies' path."""
        return self._rotation.counting_s

    def reply_ended(self, prompt: str, reply: str, ttft_s: float | None) -> None:
        """Queues a finished reply to be counted; takes microseconds."""
        with self._lock:
            if self._backend is None:
                return
            self._replies.append((prompt, reply, ttft_s))
            start, self._counting = not self._counting, True
        if start:
            self._spawn(self._count)

    def force(self, cause: Cause) -> None:
        """The next idle moment resets the cache."""
        self._rotation.force(cause)

    def rotate(self, *, asked: bool = False) -> Rotated | None:
        """Does what the count, or the person who asks, wants; None where nothing was done."""
        backend, settings = self._backend, self._settings()
        if backend is None:
            return None
        done = self._rotation.rotate(
            backend,
            self._path,
            limit_tokens=settings.rotation_tokens,
            enabled=settings.rotation,
            asked=asked,
        )
        if done is not None:
            with self._lock:
                before = self._shown.last_rotation
                self._shown = replace(self._shown, last_rotation=done)
            if asked or not done.failure or before is None or before.failure != done.failure:
                self._notices.record_event("cache", done.sentence())
        return done

    def start_drift(self, max_tokens: int, turns: Sequence[tuple[float, int]] = ()) -> bool:
        """Starts the drift measurement in the background; False where one runs or no model is loaded."""
        with self._lock:
            backend = self._backend
            if backend is None or self._shown.drift_progress is not None:
                return False
            self._drift_cancel = cancel = threading.Event()
            self._shown = replace(self._shown, drift_progress=0.0, drift_text="starting")
        self._spawn(lambda: self._measure_drift(backend, max_tokens, cancel, turns))
        return True

    def cancel_drift(self) -> None:
        """Stops the drift measurement at its next token."""
        self._drift_cancel.set()

    def _count(self) -> None:
        try:
            while (reply := self._next_reply()) is not None:
                backend, (prompt, text, ttft_s) = reply
                self._rotation.count(backend, prompt, text, ttft_s)
                self.rotate()
            self._notices.clear_problem("counting")
        except BackendError as error:
            self._notices.report_problem(f"Tokens are not counted: {error}", "counting")
        finally:
            with self._lock:
                self._counting = False

    def _next_reply(self) -> tuple[Backend, tuple[str, str, float | None]] | None:
        with self._lock:
            if self._backend is None or not self._replies:
                return None
            return self._backend, self._replies.popleft()

    def _measure_drift(
        self, backend: Backend, max_tokens: int, cancel: threading.Event, turns: Sequence[tuple[float, int]]
    ) -> None:
        report: DriftReport | None = None

        def moved(share: float, text: str) -> None:
            with self._lock:
                self._shown = replace(self._shown, drift_progress=share, drift_text=text)

        try:
            report = measure_drift(
                self._path, backend, max_tokens, progress=moved, cancel=cancel, turns=turns
            )
        except BackendError as error:
            self._notices.report_problem(f"Drift could not be measured: {error}", "drift")
        finally:
            with self._lock:
                kept = report or self._shown.drift
                self._shown = replace(self._shown, drift=kept, drift_progress=None, drift_text="")
        if report is not None:
            self._notices.clear_problem("drift")
            self._notices.record_event("drift", " ".join(report.sentences()))
