"""A lock at which a question goes before everything that waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Turnstile"]


class Turnstile:
    """Lets one in at a time. Python's own lock is not fair: who gives it back in a loop has it again."""

    def __init__(self) -> None:
        """Nobody is in."""
        self._changed = threading.Condition()
        self._taken = False
        self._urgent = 0  # questions that wait

    @contextmanager
    def passed(self, *, urgent: bool = False) -> Iterator[None]:
        """While inside, nobody else is; `urgent` goes before all that are not."""
        with self._changed:
            self._urgent += urgent
            try:
                while self._taken or (self._urgent and not urgent):
                    self._changed.wait()
                self._taken = True
            finally:
                self._urgent -= urgent
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()
