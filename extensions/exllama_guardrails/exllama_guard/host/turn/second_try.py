"""A second try at a reply inside the host's generator: started, followed, closed; and the text that stands.

Acting asks again because of a verdict, the tool lock because an answer misses its schema. Both write in the
place of the first answer, under the same lock and to the same reader.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from exllama_guard.host import webui
from exllama_guard.host.guard import guarded
from exllama_guard.host.turn.reply_call import Texts

__all__ = ["SecondTry", "put_back"]

log = logging.getLogger(__name__)


class _Ended:
    """Marks that a generator came to its end, or broke."""


_END, _BROKEN = _Ended(), _Ended()


def _not_started(self: SecondTry) -> Texts | None:
    return None


def _broken(self: SecondTry, steps: Texts) -> str | _Ended:
    return _BROKEN


@dataclass(slots=True)
class SecondTry:
    """One more generation. Used by one step of the host's generator at a time."""

    start: Callable[[], Texts]
    started: bool = False
    broke: bool = False  # the model failed under it

    def grow(self) -> Texts:
        """Yields the text as it grows: to its end, until the model fails, or until this is closed."""
        steps = self._start()
        if steps is None:
            return
        self.started = True
        try:
            while not isinstance(step := self._next(steps), _Ended):
                yield step
            self.broke = step is _BROKEN
        finally:
            self._close(steps)

    @guarded(_not_started)
    def _start(self) -> Texts | None:
        return self.start()

    @guarded(_broken)
    def _next(self, steps: Texts) -> str | _Ended:
        try:
            return next(steps)
        except StopIteration:
            return _END
        except (RuntimeError, OSError, ValueError) as error:  # what loaders raise: who asked says so
            log.warning("a second try failed: %s", error)
            return _BROKEN

    @guarded(lambda self, steps: None)
    def _close(self, steps: Texts) -> None:
        steps.close()


def put_back(given: str) -> Texts:
    """Yields the text that stands after all tries.

    The host's chat drops the step at which it sees the Stop button, so the flag is down for this one step.
    """
    stopped = webui.stopped()
    if stopped:
        webui.set_stopped(False)
    try:
        yield given
    finally:
        if stopped:
            webui.set_stopped(True)
