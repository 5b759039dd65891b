"""What the process of its own does: one thread a lane runs the pieces that come, in their order."""

from __future__ import annotations

import importlib
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import IO, Any

from exllama_guard.core.alarms import without_alarms
from exllama_guard.worker.frames import read_frame, write_frame
from exllama_guard.worker.lanes import Lane
from exllama_guard.worker.values import decode, encode

__all__ = ["step", "work"]

log = logging.getLogger(__name__)

Task = Callable[..., object]


class _Running(threading.local):
    """The piece that the thread is at: who tells that it goes on."""

    tell: Callable[[], None] | None = None


_running = _Running()


def step() -> None:
    """Tells that the piece of this thread goes on: its time begins anew. Nothing where no piece runs."""
    if _running.tell is not None:
        _running.tell()


def work(incoming: IO[bytes], outgoing: IO[bytes], module: str) -> None:
    """Runs the tasks of `module` (its `TASKS`, by name) until the pipe is closed, then ends the process."""
    without_alarms()
    tasks: Mapping[str, Task] = importlib.import_module(module).TASKS
    answers = _Answers(outgoing)
    lanes = {lane: ThreadPoolExecutor(1, thread_name_prefix=lane.value) for lane in Lane}
    answers.send(0, "ready", None)
    while (body := read_frame(incoming)) is not None:
        number, lane, name, arguments = decode(body)
        job = lanes[Lane(lane)].submit(_done, tasks[name], arguments, partial(answers.send, number, "step"))
        job.add_done_callback(partial(_answer, answers, number))
    os._exit(0)  # what is in the middle of something has nobody to tell


def _done(task: Task, arguments: tuple[object, ...], tell: Callable[[object], None]) -> tuple[object, float]:
    """What the task gives, and the seconds of this thread's processor that it took."""
    _running.tell = partial(tell, None)
    started_s = time.thread_time()
    step()
    return task(*arguments), time.thread_time() - started_s


class _Answers:
    """What is sent back; the lock keeps two lanes' answers apart."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, number: int, kind: str, value: object) -> None:
        body = encode((number, kind, value))
        with self._lock:
            write_frame(self._pipe, body)


def _answer(answers: _Answers, number: int, job: Future[Any]) -> None:
    """Sends what became of a piece; the executor has caught what it raised."""
    fault = job.exception()
    if fault is None:
        try:
            answers.send(number, "done", job.result())
            return
        except (TypeError, RecursionError) as error:
            fault = error
    answers.send(number, "failed", _told(fault))


def _told(fault: BaseException) -> tuple[str, str, str]:
    """The fault's class, its words, and its traceback."""
    lines = traceback.format_exception(type(fault), fault, fault.__traceback__)
    return type(fault).__name__, str(fault), "".join(lines)
