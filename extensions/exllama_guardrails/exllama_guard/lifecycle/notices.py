"""What the lifecycle asks of its surroundings: a place for sentences, and threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Spawn", "Notices"]

Spawn = Callable[[Callable[[], None]], None]  # runs a job on a thread of its own and tells of what it raises


class Notices(Protocol):
    """Where sentences for people go; the monitor has these three methods."""

    def record_event(self, kind: str, text: str) -> None:
        """Adds to the list of events."""
        ...

    def report_problem(self, sentence: str, key: str) -> None:
        """Shows a problem until it is cleared."""
        ...

    def clear_problem(self, key: str) -> None:
        """Takes a problem back."""
        ...
