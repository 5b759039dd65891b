"""Work that a visitor gave a page: runs on its own thread, says how far it is, ends soon after Cancel."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from exllama_guard.errors import UserError
from exllama_guard.panel.card import Visitor
from exllama_guard.probes import ReportProgress, Task, TaskState

__all__ = ["VisitorTasks"]

_KEPT = 32  # of the last visitors
_AT_ONCE_S = 0.4  # what is done by then is shown with the click itself

R = TypeVar("R")
T = TypeVar("T")


class VisitorTasks(Generic[R, T]):
    """One task a visitor. Thread-safe; the lock protects the table."""

    def __init__(self, name: str, work: Callable[[R, ReportProgress, threading.Event], T]) -> None:
        """Nothing runs yet."""
        self._name, self._work = name, work
        self._lock = threading.Lock()
        self._tasks: OrderedDict[Visitor, Task[R, T]] = OrderedDict()

    def state(self, visitor: Visitor) -> TaskState[R, T] | None:
        """The visitor's running or last task; None before the first."""
        with self._lock:
            task = self._tasks.get(visitor)
        return None if task is None else task.state

    def start(self, visitor: Visitor, asked: R) -> T | None:
        """Starts the work and gives it a moment; its result, or None where it goes on.

        Raises:
            UserError: The visitor's work of this kind is running, or it failed.
        """
        with self._lock:
            task = self._tasks.setdefault(visitor, Task(self._name, self._work))
            self._tasks.move_to_end(visitor)
            while len(self._tasks) > _KEPT:
                self._tasks.popitem(last=False)[1].stop()
        task.start(asked)
        until_s = time.monotonic() + _AT_ONCE_S
        while task.state.running and time.monotonic() < until_s:
            time.sleep(0.005)
        if task.state.problem:
            raise UserError(task.state.problem)
        return task.state.result

    def stop(self, visitor: Visitor) -> None:
        """Ends the visitor's task after the batch that runs."""
        with self._lock:
            task = self._tasks.get(visitor)
        if task is not None:
            task.stop()

    def forget(self, visitor: Visitor) -> None:
        """Ends the visitor's task and drops its result."""
        self.stop(visitor)
        with self._lock:
            self._tasks.pop(visitor, None)
