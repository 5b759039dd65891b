"""The one process that scores, embeds and reads documents: work goes in as values, values come out.

Each piece of work has a limit; one that runs over it costs the process, which is started again, and nothing
but itself. A process that ends by itself costs the piece that it was at.
"""

from __future__ import annotations

import atexit
import builtins
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from exllama_guard import errors
from exllama_guard.errors import OutOfTime, ProcessLost, Stopped
from exllama_guard.worker.lanes import Lane, Need
from exllama_guard.worker.process import Piece, Process

__all__ = ["Result", "Work", "Worker"]

log = logging.getLogger(__name__)

LOADING_LIMIT_S = 600.0  # for what a process needs before its work: torch from the disk of a busy machine
_STARTING_LIMIT_S = 300.0  # imports of a busy machine; one that fails to start ends by itself
_CLOSING_LIMIT_S = 10.0
_LOOK_S = 0.1  # between two looks at Cancel, or at who holds a lane
_PAUSES_S = (0.0, 1.0, 5.0, 60.0)  # before a process is started that has failed to start so many times
_AGAIN = (
    "Restart the WebUI; if it stays so, run `pip install -r requirements.txt` of this extension in the "
    "WebUI's environment. The log has what the process said."
)


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
        """Has the task done some time; nobody hears what it gives, nor whether there is a process for it."""
        ...


class _TracebackThere(Exception):
    """The traceback of a fault in the other process, as its cause."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Worker:
    """The process and its restarts. Thread-safe: the lock protects the process in use and the counters."""

    def __init__(self, tasks: str = "exllama_guard.worker.tasks") -> None:
        """Starts nothing before the first piece of work; `tasks` names the module of what can be done."""
        self._tasks = tasks
        self._lock = threading.Lock()
        self._lanes = {lane: threading.Lock() for lane in Lane}
        self._process: Process | None = None
        self._failed = 0  # starts, one after the other
        self._not_before_s = 0.0
        self._why = ""  # it could not be started last
        self._closed = False
        atexit.register(self.close)

    @property
    def pid(self) -> int | None:
        """The number of the process in use, or None."""
        process = self._process
        return None if process is None or process.gone.is_set() else process.pid

    def close(self) -> None:
        """Ends the process, for good."""
        with self._lock:
            self._closed = True
            process = self._process
        if process is not None:
            process.end()
            process.gone.wait(_CLOSING_LIMIT_S)

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
        """See `Work`."""
        until_s = None if patience_s is None else time.monotonic() + patience_s
        with _Turn(self._lanes[lane], until_s, stop, self._look_after) as turn:
            for last in (False, True):
                process = self._running(turn)
                piece = None
                if needs is not None and needs not in process.loaded:
                    piece = process.send(lane, needs.task, needs.arguments, LOADING_LIMIT_S, needs)
                    turn.wait_for(process, piece)
                if piece is None or piece.kind == "done":
                    piece = process.send(lane, task, arguments, limit_s)
                    turn.wait_for(process, piece)
                if piece.kind != "lost" or last:
                    return _result(piece)
        raise AssertionError  # the second try returns or raises

    def tell(self, task: str, *arguments: object) -> None:
        """See `Work`."""
        process = self._process
        if process is not None:
            process.send(Lane.SCORE, task, arguments, LOADING_LIMIT_S)

    def _look_after(self) -> None:
        """Ends a process in which a piece that nobody waits for any more runs for longer than it may."""
        process = self._process
        guilty = None if process is None else process.overdue()
        if process is not None and guilty is not None:
            process.end(guilty)

    def _running(self, turn: _Turn) -> Process:
        """The process, once it takes work; started where there is none.

        Raises:
            ProcessLost: It ended as it started, now or a moment ago.
        """
        with self._lock:
            process = self._process
            if process is None or process.gone.is_set():
                process = self._start(process)
        started_s = time.monotonic()
        while not process.ready.wait(_LOOK_S):
            turn.look()
            if time.monotonic() - started_s > _STARTING_LIMIT_S:
                process.end()
            if process.gone.is_set():
                with self._lock:
                    raise self._cannot_start()
        return process

    def _start(self, before: Process | None) -> Process:
        """A new process, which loads what the one before had; the lock is held.

        Raises:
            ProcessLost: It is too early for another try.
        """
        if self._closed or time.monotonic() < self._not_before_s:
            raise self._cannot_start()
        process = self._process = Process(self._tasks, self._gone)
        for need in () if before is None else tuple(before.loaded):
            process.send(Lane.SCORE, need.task, need.arguments, LOADING_LIMIT_S, need)
        return process

    def _gone(self, process: Process) -> None:
        """Called when a process has ended: starts the next where it had been at work."""
        with self._lock:
            if self._closed or process is not self._process:
                return
            if process.ready.is_set():
                self._failed = 0
                log.info("the process that checks answers ended (%s)", process.status)
                if process.loaded:
                    self._start(process)
                return
            self._why = process.status
            self._failed += 1
            pause_s = _PAUSES_S[min(self._failed, len(_PAUSES_S)) - 1]
            self._not_before_s = time.monotonic() + pause_s

    def _cannot_start(self) -> ProcessLost:
        if self._closed:
            return ProcessLost("Answers are no longer checked: the program ends.")
        return ProcessLost(
            f"Nothing is checked: the process that checks answers ended as it started ({self._why}). {_AGAIN}"
        )


class _Turn:
    """A place in a lane, held until the piece of work ends, also where its caller has left."""

    def __init__(
        self,
        lane: threading.Lock,
        until_s: float | None,
        stop: threading.Event | None,
        look_after: Callable[[], None],
    ) -> None:
        self._lane = lane
        self._until_s = until_s
        self._stop = stop
        self._look_after = look_after
        self._left = False  # whoever ends the piece gives the lane back

    def __enter__(self) -> _Turn:
        while not self._lane.acquire(timeout=_LOOK_S):
            self.look()
            self._look_after()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._left:
            self._lane.release()

    def look(self) -> None:
        """Nothing, while the caller waits.

        Raises:
            Stopped, OutOfTime: The caller does not wait any longer.
        """
        if self._stop is not None and self._stop.is_set():
            raise Stopped("Cancelled; nothing was kept.")
        if self._until_s is not None and time.monotonic() > self._until_s:
            raise OutOfTime("was not done in time")

    def wait_for(self, process: Process, piece: Piece) -> None:
        """Returns when the piece has ended.

        Raises:
            OutOfTime: It ran over its limit, and the process was ended; or the caller's patience is over.
            Stopped: The caller does not want it any more.
        """
        patient = self._stop is None and self._until_s is None
        while not piece.ended.wait(
            max(0.0, piece.since_s + piece.limit_s - time.monotonic()) if patient else _LOOK_S / 4
        ):
            if time.monotonic() > piece.since_s + piece.limit_s:
                process.end(piece)
                raise OutOfTime(f"took longer than {piece.limit_s:g} s")
            try:
                self.look()
            except (Stopped, OutOfTime):
                self._left = True
                process.follow(piece, self._lane.release)
                raise


def _result(piece: Piece) -> Result:
    """What the piece gave.

    Raises:
        ProcessLost: Its process ended.
        Exception: What the task raised.
    """
    if piece.kind == "done":
        value, worked_s = piece.answer
        return Result(value, worked_s)
    if piece.kind == "failed":
        name, words, trace = piece.answer
        raise _raised(name, words) from _TracebackThere(trace)
    raise ProcessLost(f"the process that checks answers ended in the middle of it ({piece.answer})")


def _raised(name: str, words: str) -> Exception:
    """The error that the task raised, where it is one of ours or of Python's own; else a RuntimeError."""
    kind = getattr(errors, name, None) or getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, UnicodeError):
        return kind(words)
    return RuntimeError(f"{name}: {words}")
