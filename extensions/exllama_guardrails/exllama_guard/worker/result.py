"""What having a piece of work done means: the port that the process and the threads in its place fill."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Protocol

from exllama_guard.worker.lanes import Lane, Need

__all__ = ["Result", "Work"]


@dataclass(frozen=True, slots=True)
class Result:
    """What a piece of work gave, and the seconds of processor time of the thread that did it."""

    value: Any
    worked_s: float


class Work(Protocol):
    """Has tasks done, here or in a process of their own."""

    def call(
        self,
        task: str,
        *arguments: object,
        limit_s: float,
        lane: Lane = Lane.SCORE,
        needs: Need | None = None,
        patience_s: float | None = None,
        stop: threading.Event | None = None,
    ) -> Result:
        """What the task gives.

        Args:
            task: Its name in the tasks' module.
            arguments: Values that can cross.
            limit_s: How long the task may take; what takes longer is ended.
            lane: Pieces of one lane are done one after the other.
            needs: What must have been done before in the same process.
            patience_s: How long the caller waits at most; the task goes on without it.
            stop: Ends the waiting once it is set.

        Raises:
            OutOfTime: It took longer than `limit_s`, or than `patience_s`.
            ProcessLost: The process ended, or there is none.
            Stopped: `stop` was set.
            GuardError: What the task raised; a fault of another kind comes as the class it had, where that
                is one of Python's own.
            TypeError, RecursionError: An argument is no value that can cross.
        """
        ...

    def tell(self, task: str, *arguments: object) -> None:
        """Has the task done some time; a fault is logged; nobody hears what it gives."""
        ...
