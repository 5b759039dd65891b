"""The host's generation lock, watched: who waits for it, how long, and whether Stop was pressed meanwhile.

The host's `generate_reply` takes `shared.generation_lock` and only then calls `_generate_reply`, which clears
the Stop flag (4.7.3 and 3.23): without this, Stop is lost on a request that waits for a warm-up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from exllama_guard.host.lifecycle.model_watch import stop_presses

__all__ = ["Wait", "WatchedLock", "take_wait", "unwatch_lock", "watched_lock"]

_this_thread = threading.local()  # the host takes the lock and generates in one call, on one thread


@dataclass(frozen=True, slots=True)
class Wait:
    """How a request waited for the lock."""

    since_s: float  # by perf_counter
    stopped: bool  # Stop was pressed meanwhile


class WatchedLock:
    """Stands for `lock`; both names are the same lock, so either may give it back."""

    def __init__(self, lock: threading.Lock) -> None:
        """Watches `lock`, which others may hold or wait for already."""
        self.watched = lock
        self._own = threading.Lock()  # protects the three below
        self._since_s: dict[object, float] = {}  # of the requests that wait now, however long it takes
        self._keepers = 0
        self._given_back = False  # while it was kept

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As the lock's; notes for this thread whether Stop was pressed while it waited."""
        if not blocking or timeout >= 0:
            return self.watched.acquire(blocking, timeout)
        before, since_s = stop_presses(), time.perf_counter()
        request = object()
        with self._own:
            self._since_s[request] = since_s
        try:
            return self.watched.acquire()
        finally:
            with self._own:
                del self._since_s[request]
            _this_thread.wait = Wait(since_s, stopped=stop_presses() != before)

    @property
    def waiting(self) -> int:
        """Requests that wait now."""
        return len(self._since_s)

    def longest_wait_s(self) -> float:
        """Seconds that the first of those who wait now has waited; 0.0 where nobody does."""
        with self._own:
            first_s = min(self._since_s.values(), default=None)
        return 0.0 if first_s is None else time.perf_counter() - first_s

    def release(self) -> None:
        """As the lock's; where it is kept, once it is kept no more."""
        _this_thread.wait = None
        with self._own:
            if self._keepers:
                self._given_back = True
                return
        self.watched.release()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within it, who holds the lock may give it back and go on; it is free once the block has ended.

        For work that a reply has begun and does not wait for: nothing else may use the model meanwhile.
        """
        with self._own:
            self._keepers += 1
        try:
            yield
        finally:
            with self._own:
                self._keepers -= 1
                free = self._given_back and not self._keepers
                if free:
                    self._given_back = False
            if free:
                self.watched.release()

    def locked(self) -> bool:
        """As the lock's."""
        return self.watched.locked()

    def __enter__(self) -> bool:
        """As the lock's."""
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As the lock's."""
        self.release()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else the lock has
        """As the lock's."""
        return getattr(self.watched, name)


def take_wait() -> Wait | None:
    """How this thread waited for the lock that it has just taken, told once; None where it took none.

    Told once, because the host may give the lock back from another thread.
    """
    wait: Wait | None = getattr(_this_thread, "wait", None)
    _this_thread.wait = None
    return wait


def watched_lock(shared: Any) -> WatchedLock | None:  # noqa: ANN401 - the host's module
    """The host's generation lock, watched from now on; None where it has none yet."""
    lock = getattr(shared, "generation_lock", None)
    if lock is None or isinstance(lock, WatchedLock):
        return lock
    shared.generation_lock = WatchedLock(lock)
    return shared.generation_lock  # type: ignore[no-any-return]


def unwatch_lock(shared: Any) -> None:  # noqa: ANN401 - the host's module
    """Puts the host's own lock back; who waits for it through ours still gets it."""
    lock = getattr(shared, "generation_lock", None)
    if isinstance(lock, WatchedLock):
        shared.generation_lock = lock.watched
