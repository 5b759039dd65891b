"""One process as the host sees it: started, spoken to, watched, and ended; what is under way in it.

Two threads stand beside it: one starts it and writes to it, one reads from it. On Linux the kernel ends the
process with the thread that started it, so that thread lives as long as the process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from exllama_guard.worker.frames import read_frame, write_frame
from exllama_guard.worker.lanes import Lane, Need
from exllama_guard.worker.values import decode, encode

__all__ = ["Piece", "Process"]

_FILE = Path(__file__).with_name("child.py")
_TO_END_S = 5.0
_MOST_THREADS = 4  # of the embedder: more are no quicker with texts of some hundred words


class Piece:
    """One piece of work that was handed to a process. `answer` is set once `ended` is."""

    def __init__(self, limit_s: float, key: Need | None = None) -> None:
        """It may run for `limit_s`; `key` names what the process has once the piece is done."""
        self.limit_s = limit_s
        self.key = key
        self.ended = threading.Event()
        # done, failed; crashed: the process ended at it; lost: the process ended, perhaps at another piece
        self.kind = ""
        self.answer: Any = None
        self.since_s = time.monotonic()
        self.then: Callable[[], None] | None = None

    def end(self, kind: str, answer: object) -> None:
        """Takes the answer, wakes who waits."""
        self.kind, self.answer = kind, answer
        self.ended.set()


class Process:
    """A process at work. Thread-safe; the lock protects the pieces under way and what follows each."""

    def __init__(self, tasks: str, when_gone: Callable[[Process], None]) -> None:
        """Starts it, on a thread of its own; `tasks` names the module of what it can do."""
        self.began = threading.Event()  # it runs our file
        self.ready = threading.Event()  # it takes work
        self.gone = threading.Event()
        self.settled = threading.Event()  # it is gone, and what follows from it was done
        self.status = ""  # how it ended, in words
        self.loaded: set[Need] = set()  # keys of the pieces that were done
        self.reloading: tuple[Piece, ...] = ()  # what it does first, because the one before had it
        self._tasks = tasks
        self._when_gone = when_gone
        self._lock = threading.Lock()
        self._pieces: dict[int, Piece] = {}
        self._count = 0
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._guilty: Piece | None = None  # the piece it was ended for
        self._closing = False
        threading.Thread(target=self._run, name="guardrails-process", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """Its number, or None while it has none."""
        return None if self._process is None else self._process.pid

    def send(
        self, lane: Lane, task: str, arguments: tuple[object, ...], limit_s: float, key: Need | None = None
    ) -> Piece:
        """Hands over a piece; it waits for those before it in its lane.

        Raises:
            TypeError, RecursionError: An argument is no value that can cross.
        """
        piece = Piece(limit_s, key)
        with self._lock:
            self._count += 1
            number = self._count
        body = encode((number, lane.value, task, arguments))
        with self._lock:
            gone = self.gone.is_set()
            if not gone:
                self._pieces[number] = piece
        if gone:
            piece.end("lost", None)
        else:
            self._outbox.put(body)
        return piece

    def follow(self, piece: Piece, then: Callable[[], None]) -> None:
        """Has `then` called when the piece ends; at once where it has."""
        with self._lock:
            if not piece.ended.is_set():
                piece.then = then
                return
        then()

    def overdue(self) -> Piece | None:
        """A piece that has run for longer than it may, or None."""
        now_s = time.monotonic()
        with self._lock:
            return next((one for one in self._pieces.values() if now_s > one.since_s + one.limit_s), None)

    def end(self, guilty: Piece | None = None) -> None:
        """Ends it now, because of one piece or for good."""
        with self._lock:
            self._guilty = self._guilty or guilty
            self._closing = self._closing or guilty is None
            process = self._process
        if process is not None:
            process.kill()
        self._outbox.put(None)

    # --- on the thread that starts it and writes to it ----------------------------------------------------

    def _run(self) -> None:
        """Everybody is told how it ended, also where something here fails."""
        status = "a fault of the thread beside it; the log has it"
        try:
            status = self._lived()
        except OSError as error:
            status = f"it cannot be started: {error.strerror or error}"
        finally:
            self._lost(status)

    def _lived(self) -> str:
        """Starts it, writes to it until it ends; how it ended.

        Raises:
            OSError: It cannot be started.
        """
        process = _started()
        with self._lock:
            self._process = process
            closing = self._closing
        if closing:
            process.kill()
        incoming, outgoing = process.stdout, process.stdin
        assert incoming is not None and outgoing is not None  # noqa: S101 - both are pipes
        reader = threading.Thread(target=self._read, args=(incoming,), name="guardrails-answers", daemon=True)
        try:
            reader.start()
            self._write(outgoing)
        finally:
            _close(outgoing)
            code = _ended(process)
        reader.join()
        incoming.close()
        return _status(code)

    def _write(self, outgoing: IO[bytes]) -> None:
        """Writes what is handed over, until it ends."""
        path = [str(place) for place in sys.path]  # an extension may have put a Path there
        told = {"parent": os.getpid(), "path": path, "tasks": self._tasks}
        with suppress(OSError, ValueError):  # it is gone: the other thread sees its pipe closed
            write_frame(outgoing, json.dumps(told).encode())
            while (body := self._outbox.get()) is not None:
                write_frame(outgoing, body)

    def _lost(self, status: str) -> None:
        with self._lock:
            self.status = status
            self.gone.set()
            pieces, self._pieces = list(self._pieces.values()), {}
        alone = self._guilty is None and len(pieces) == 1
        try:
            for piece in pieces:
                self._end(piece, "crashed" if alone else "lost", status)
            self._when_gone(self)
        finally:
            self.settled.set()

    # --- on the thread that reads from it -----------------------------------------------------------------

    def _read(self, incoming: IO[bytes]) -> None:
        while (body := read_frame(incoming)) is not None:
            number, kind, answer = decode(body)
            if kind in ("began", "ready"):
                (self.began if kind == "began" else self.ready).set()
                continue
            with self._lock:
                piece = self._pieces.get(number) if kind == "step" else self._pieces.pop(number, None)
            if piece is None:
                continue
            if kind == "step":
                piece.since_s = time.monotonic()
                continue
            if kind == "done" and piece.key is not None:
                self.loaded.add(piece.key)
            self._end(piece, kind, answer)
        self._outbox.put(None)

    def _end(self, piece: Piece, kind: str, answer: object) -> None:
        with self._lock:
            piece.end(kind, answer)
            then = piece.then
        if then is not None:
            then()


def _started() -> subprocess.Popen[bytes]:
    """The process.

    Raises:
        OSError: It cannot be started.
    """
    if not sys.executable or getattr(sys, "frozen", False):  # the file would be that of the whole app
        raise OSError("this program has no Python of its own that could be started")
    quiet = 0
    if sys.platform == "win32":  # no window, and Ctrl+C is for the host
        quiet = subprocess.CREATE_NO_WINDOW | subprocess.BELOW_NORMAL_PRIORITY_CLASS
        quiet |= subprocess.CREATE_NEW_PROCESS_GROUP
    return subprocess.Popen(  # noqa: S603 - this Python and our own file
        [sys.executable, str(_FILE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        creationflags=quiet,
        env={**_threads_of_models(), **os.environ},
    )


def _threads_of_models() -> dict[str, str]:
    """Variables for OpenMP (torch): the model goes first, and threads that wait for each other sleep.

    By default they spin: on two busy cores a score of 0.07 s took half a second to three.
    """
    threads = max(1, min(_MOST_THREADS, (os.cpu_count() or 2) // 2))
    return {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}


def _ended(process: subprocess.Popen[bytes]) -> int:
    """The status of a process whose pipe is closed; one that does not end by that is killed."""
    try:
        return process.wait(_TO_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _close(pipe: IO[bytes]) -> None:
    with suppress(OSError):  # what was not written is lost with the process
        pipe.close()


def _status(code: int) -> str:
    """How a process ended, in words."""
    return f"signal {-code}" if code < 0 else f"exit status {code}"
