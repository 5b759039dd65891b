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
from functools import partial

from exllama_guard import errors
from exllama_guard.errors import OutOfTime, ProcessLost, Stopped
from exllama_guard.worker.here import WorkHere
from exllama_guard.worker.lanes import Lane, Need
from exllama_guard.worker.process import Piece, Process
from exllama_guard.worker.result import Result

__all__ = ["Worker"]

log = logging.getLogger(__name__)

LOADING_LIMIT_S = 600.0  # for what a process needs before its work: torch from the disk of a busy machine
_BEGINNING_LIMIT_S = 60.0  # until its Python runs our file: a second on a busy machine
_STARTING_LIMIT_S = 300.0  # imports of a busy machine; one that fails to start ends by itself
_CLOSING_LIMIT_S = 10.0
_LOOK_S = 0.1  # between two looks at Cancel, or at who holds a lane
_PAUSES_S = (0.0, 1.0, 5.0, 60.0)  # before a process is started that has failed to start so many times
_AGAIN = (
    "Restart the WebUI; if it stays so, run `pip install -r requirements.txt` of this extension in the "
    "WebUI's environment. The log has what the process said."
)


_HERE = (
    "Answers are checked inside this program, because no process of its own can be started ({}): a text that "
    "is slow to read can make the chat wait. Allow the program to start the Python that it runs with."
)


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
        self._has_begun = False  # some process has run our file
        self._here: WorkHere | None = None  # in its place, once none can be started
        self._listeners: list[Callable[[str], None]] = []
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

    def when_here(self, tell: Callable[[str], None]) -> None:
        """Has `tell` called with a sentence once the work is done in this process; at once where it is."""
        with self._lock:
            process = self._process
            if self._here is None:
                if not self._has_begun and (process is None or not process.began.is_set()):
                    self._listeners.append(tell)  # it may still come to that
                return
            told = _HERE.format(self._why)
        tell(told)

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
        """See `Work`; done in this process where none of its own has ever run and none can be started."""
        until_s = None if patience_s is None else time.monotonic() + patience_s
        if self._here is None:
            with _Turn(self._lanes[lane], until_s, stop, self._look_after) as turn:
                done = self._called(turn, lane, needs, limit_s, (task, arguments))
            if done is not None:
                return done
        assert self._here is not None  # noqa: S101 - what gives no result has set it
        left_s = None if until_s is None else max(0.0, until_s - time.monotonic())
        return self._here.call(
            task, *arguments, limit_s=limit_s, lane=lane, needs=needs, patience_s=left_s, stop=stop
        )

    def tell(self, task: str, *arguments: object) -> None:
        """See `Work`."""
        process, here = self._process, self._here
        if here is not None:
            here.tell(task, *arguments)
        elif process is not None:
            piece = process.send(Lane.SCORE, task, arguments, LOADING_LIMIT_S)
            process.follow(piece, partial(_log_fault, task, piece))

    def _called(
        self,
        turn: _Turn,
        lane: Lane,
        needs: Need | None,
        limit_s: float,
        asked: tuple[str, tuple[object, ...]],
    ) -> Result | None:
        """What the process gives, the second one where the first was lost; None where none can be started."""
        for last in (False, True):
            process = self._running(turn)
            if process is None:
                return None
            for piece in process.reloading if lane is Lane.SCORE else ():
                turn.wait_for(process, piece)  # the time of what comes behind it begins when it is through
            done = None
            if needs is not None and needs not in process.loaded:
                done = process.send(lane, needs.task, needs.arguments, LOADING_LIMIT_S, needs)
                turn.wait_for(process, done)
            if done is None or done.kind == "done":
                done = process.send(lane, *asked, limit_s)
                turn.wait_for(process, done)
            if done.kind != "lost" or last:
                return _result(done)
        raise AssertionError  # the second try returns or raises

    def _look_after(self) -> None:
        """Ends a process in which a piece that nobody waits for any more runs for longer than it may."""
        process = self._process
        guilty = None if process is None else process.overdue()
        if process is not None and guilty is not None:
            process.end(guilty)

    def _running(self, turn: _Turn) -> Process | None:
        """The process, once it takes work, started where there is none; None where none can be started.

        Raises:
            ProcessLost: It ended as it started, now or a moment ago.
        """
        before = self._process
        if before is not None and before.gone.is_set():
            before.settled.wait()
        with self._lock:
            if self._here is not None:
                return None
            process = self._process
            if process is None or process.gone.is_set():
                process = self._start(process)
        started_s = time.monotonic()
        while not process.ready.wait(_LOOK_S):
            if process.gone.is_set():
                process.settled.wait()
                with self._lock:
                    if self._here is not None:
                        return None
                    raise self._cannot_start()
            waited_s = time.monotonic() - started_s
            if waited_s > (_STARTING_LIMIT_S if process.began.is_set() else _BEGINNING_LIMIT_S):
                process.end()
            turn.look()
        return process

    def _start(self, before: Process | None) -> Process:
        """A new process, which loads what the one before had; the lock is held.

        Raises:
            ProcessLost: It is too early for another try.
        """
        if self._closed or time.monotonic() < self._not_before_s:
            raise self._cannot_start()
        process = self._process = Process(self._tasks, self._gone)
        process.reloading = tuple(
            process.send(Lane.SCORE, need.task, need.arguments, LOADING_LIMIT_S, need)
            for need in (() if before is None else tuple(before.loaded))
        )
        return process

    def _gone(self, process: Process) -> None:
        """Called when a process has ended: starts the next where it had been at work."""
        with self._lock:
            if self._closed or process is not self._process:
                return
            self._has_begun = self._has_begun or process.began.is_set()
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
            if self._has_begun:
                return
            self._here = WorkHere(self._tasks)
            told, listeners = _HERE.format(self._why), tuple(self._listeners)
        log.warning("%s", told)
        for tell in listeners:
            tell(told)

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


def _log_fault(task: str, piece: Piece) -> None:
    """Logs what a task raised that nobody waits for."""
    if piece.kind == "failed":
        log.error("the task %s failed in the process that checks answers\n%s", task, piece.answer[2])


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
