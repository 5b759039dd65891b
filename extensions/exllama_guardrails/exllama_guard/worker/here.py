"""The worker's tasks done where they are asked for: for tests and measurements."""

from __future__ import annotations

import threading
import time
from importlib import import_module

from exllama_guard.worker.lanes import Lane, Need
from exllama_guard.worker.values import decode, encode
from exllama_guard.worker.worker import Result

__all__ = ["WorkHere"]


class WorkHere:
    """Does the tasks on the thread that asks, with values that have crossed all the same; ends none."""

    def __init__(self, tasks: str = "exllama_guard.worker.tasks") -> None:
        """`tasks` names the module of what can be done."""
        self._tasks = tasks
        self._done: set[Need] = set()

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
        """See `Work`; nothing is cut short."""
        if needs is not None and needs not in self._done:
            self._done.add(needs)
            self._do(needs.task, needs.arguments)
        started_s = time.thread_time()
        value = self._do(task, arguments)
        return Result(value, time.thread_time() - started_s)

    def tell(self, task: str, *arguments: object) -> None:
        """See `Work`."""
        self._do(task, arguments)

    def _do(self, task: str, arguments: tuple[object, ...]) -> object:
        run = import_module(self._tasks).TASKS[task]
        return decode(encode(run(*decode(encode(arguments)))))
