"""Closes a locked reply before its limit: when, and with which tokens."""

from __future__ import annotations

from typing import Any

from exllama_guard.tools.locks.compiled import CompiledLock
from exllama_guard.tools.locks.ending import shortest_end

__all__ = ["Closer"]


class Closer:
    """When a reply of at most `limit` tokens must be closed, and how; one reply's own."""

    def __init__(self, lock: CompiledLock, limit: int) -> None:
        self._lock = lock
        self._left = limit
        self._look_at = limit  # tokens left at which the end is looked for again
        self._end: list[int] = []

    def wrote(self, token: int) -> bool:
        """Takes a token of the reply; True where it was the last one of the end."""
        self._left -= 1
        if not self._end:
            return False
        if self._end.pop(0) != token:
            self._end = []  # the sampler went another way
            return False
        return not self._end

    def end(self, matcher: Any) -> list[int] | None:  # noqa: ANN401 - llguidance.LLMatcher
        """The tokens that must come now for the reply to end in time; None while any may.

        The end is looked for again when half of the slack before it is used up, so some ten times a reply.
        """
        if self._end or self._left > self._look_at:
            return self._end or None
        end = shortest_end(matcher, self._lock.vocabulary, self._lock.text_ends)
        if end is None or len(end) > self._left:
            self._look_at = self._left // 2
            return None
        slack, margin = self._left - len(end), self._lock.margin
        if slack > (margin if end else max(margin, self._lock.again)):
            self._look_at = self._left - max(1, (slack - max(margin, self._lock.again)) // 2)
            return None
        self._end = end
        return end
