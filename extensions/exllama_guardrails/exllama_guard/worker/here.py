"""The worker's tasks done in this process: where none of its own can be started, and for tests."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout  # the built-in one only since Python 3.11
from importlib import import_module

from exllama_guard.errors import OutOfTime, Stopped
from exllama_guard.worker.lanes import Lane, Need
from exllama_guard.worker.result import Result
from exllama_guard.worker.values import decode, encode

__all__ = ["WorkHere"]

_LOOK_S = 0.02  # between two looks at Cancel


class WorkHere:
    """Does the tasks on one thread a lane, with values that have crossed all the same. Thread-safe.

    A thread cannot be ended: nothing is cut short, and a text that is slow to read holds up this process.
    """

    def __init__(self, tasks: str = "exllama_guard.worker.tasks") -> None:
        """`tasks` names the module of what can be done; threads start with the first piece of work."""
        self._tasks = tasks
        self._lanes = {
            lane: ThreadPoolExecutor(1, thread_name_prefix=f"guardrails-{lane.value}") for lane in Lane
        }
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
        job = self._lanes[lane].submit(self._timed, task, arguments, needs)
        if patience_s is None and stop is None:
            return job.result()
        return _waited(job, None if patience_s is None else time.monotonic() + patience_s, stop)

    def tell(self, task: str, *arguments: object) -> None:
        """See `Work`; waits for it, and a fault is raised here."""
        self._lanes[Lane.SCORE].submit(self._do, task, arguments).result()

    def _timed(self, task: str, arguments: tuple[object, ...], needs: Need | None) -> Result:
        if needs is not None and needs not in self._done:
            self._do(needs.task, needs.arguments)
            self._done.add(needs)
        started_s = time.thread_time()
        value = self._do(task, arguments)
        return Result(value, time.thread_time() - started_s)

    def _do(self, task: str, arguments: tuple[object, ...]) -> object:
        run = import_module(self._tasks).TASKS[task]
        return decode(encode(run(*decode(encode(arguments)))))


def _waited(job: Future[Result], until_s: float | None, stop: threading.Event | None) -> Result:
    """What the job gives.

    Raises:
        OutOfTime, Stopped: The caller does not wait any longer; a job that has begun goes on.
    """
    while True:
        try:
            return job.result(_LOOK_S)
        except FutureTimeout:
            if job.done():
                return job.result()  # where the task itself raised it
        if stop is not None and stop.is_set():
            job.cancel()
            raise Stopped("Cancelled; nothing was kept.")
        if until_s is not None and time.monotonic() > until_s:
            job.cancel()
            raise OutOfTime("was not done in time")
