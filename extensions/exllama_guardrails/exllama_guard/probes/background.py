"""Work that a panel starts: on its own thread, one at a time, with progress, a stop, and a value to poll."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from exllama_guard.core.turns import Reader
from exllama_guard.errors import GuardError, UserError
from exllama_guard.probes.run import Progress

__all__ = ["Spawn", "Task", "TaskState", "ReportProgress", "on_a_thread"]

R = TypeVar("R")
T = TypeVar("T")

ReportProgress = Callable[[Progress], None]
Spawn = Callable[[Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class TaskState(Generic[R, T]):
    """What a panel shows. `version` rises with each change; `problem` is one sentence, "" without one."""

    version: int = 0
    running: bool = False
    asked: R | None = None
    progress: Progress | None = None
    result: T | None = None
    problem: str = ""


def on_a_thread(job: Callable[[], None]) -> None:
    """Runs `job` on a daemon thread."""
    threading.Thread(target=job, name="guardrails-probe", daemon=True).start()


class Task(Generic[R, T]):
    """Starts, stops and remembers one kind of work. Thread-safe; the lock protects state and owner."""

    def __init__(
        self,
        name: str,
        work: Callable[[R, ReportProgress, threading.Event], T],
        *,
        spawn: Spawn = on_a_thread,
    ) -> None:
        """Nothing runs before `start`; `work` may raise GuardError, whose sentence is then shown."""
        self._name, self._work, self._spawn = name, work, spawn
        self._lock = threading.Lock()
        self._owner = Reader()
        self._state: TaskState[R, T] = TaskState()
        self._cancel = threading.Event()

    @property
    def state(self) -> TaskState[R, T]:
        """What there is now, whoever asked for it."""
        with self._lock:
            return self._state

    def state_for(self, reader: Reader) -> TaskState[R, T]:
        """What `reader` may see: their own work; of another's only that it runs."""
        with self._lock:
            if self._owner == reader or self._state.version == 0:
                return self._state
            problem = self._busy("Another user's") if self._state.running else ""
            return TaskState(version=self._state.version, problem=problem)

    def start(self, asked: R, owner: Reader | None = None) -> None:
        """Starts the work.

        Raises:
            UserError: Work of this kind is running.
        """
        owner = owner or Reader()
        with self._lock:
            if self._state.running:
                raise UserError(self._busy("A" if self._owner == owner else "Another user's"))
            self._owner, self._cancel = owner, threading.Event()
            self._state = TaskState(self._state.version + 1, True, asked)
            cancel = self._cancel
        self._spawn(lambda: self._run(asked, cancel))

    def stop(self, reader: Reader | None = None) -> None:
        """Ends the running work at its next token; what is finished is kept. Another's work goes on."""
        with self._lock:
            if reader is None or reader == self._owner:
                self._cancel.set()

    def _busy(self, whose: str) -> str:
        return f"{whose} {self._name} is running; " + (
            "stop it first." if whose == "A" else "wait until it ends."
        )

    def _run(self, asked: R, cancel: threading.Event) -> None:
        try:
            result = self._work(asked, self._progressed, cancel)
        except GuardError as error:
            self._change(running=False, problem=str(error))
        else:
            self._change(running=False, result=result)
        finally:
            # A fault of ours goes to the thread's own handler; the panel must not wait for it for ever.
            if self.state.running:
                self._change(
                    running=False, problem=f"The {self._name} ended with a fault; the log has its lines."
                )

    def _progressed(self, progress: Progress) -> None:
        self._change(progress=progress)

    def _change(self, **values: object) -> None:
        with self._lock:
            self._state = replace(self._state, version=self._state.version + 1, **values)  # type: ignore[arg-type]
