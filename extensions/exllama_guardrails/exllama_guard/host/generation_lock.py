"""The host's generation lock, watched: a request that waits for it hears of a Stop pressed meanwhile.

The host's `generate_reply` takes `shared.generation_lock` and only then calls `_generate_reply`, which clears
the Stop flag (4.7.3 and 3.23): without this, Stop is lost on a request that waits for a warm-up.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

from exllama_guard.host.model_watch import stop_presses

__all__ = ["WatchedLock", "stopped_while_waiting"]

_this_thread = threading.local()  # the host takes the lock and generates in one call, on one thread


class WatchedLock:
    """Stands for `lock`; both names are the same lock, so either may give it back."""

    def __init__(self, lock: threading.Lock) -> None:
        """Watches `lock`, which others may hold or wait for already."""
        self.watched = lock

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As the lock's; notes for this thread whether Stop was pressed while it waited."""
        before = stop_presses()
        got = self.watched.acquire(blocking, timeout)
        _this_thread.stopped = stop_presses() != before
        return got

    def release(self) -> None:
        """As the lock's."""
        _this_thread.stopped = False
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


def stopped_while_waiting() -> bool:
    """Whether Stop was pressed while this thread waited for the lock that it holds now."""
    return bool(getattr(_this_thread, "stopped", False))
