"""Measures the loaded model as a reader in the background: one at a time, with progress and cancel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from exllama_guard.core.turns import TurnReport
from exllama_guard.errors import BackendError, GuardError, Stopped, UserError
from exllama_guard.second_reader.calibration import (
    KnownStatement,
    ReaderReport,
    assessed,
    known_statements,
    measure_reader,
)
from exllama_guard.second_reader.model import LoadedReader, ReadingModel
from exllama_guard.second_reader.right_of_way import RightOfWay
from exllama_guard.second_reader.waiting_turns import Spawn

__all__ = ["CheckAnswer", "Measuring", "Progress"]

CheckAnswer = Callable[[str, str, str, threading.Event], TurnReport]  # question, document, answer, cancel


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a measurement is; `left_s` is an estimate, None before the first statement."""

    done: int
    total: int
    left_s: float | None = None


class Measuring:
    """One measurement at a time. Thread-safe; the lock protects the progress and the last problem."""

    def __init__(
        self,
        way: RightOfWay,
        check: CheckAnswer,
        quiet_s: Callable[[], float],
        keep: Callable[[ReadingModel, ReaderReport], None],
        spawn: Spawn,
        rows: Callable[[], Sequence[KnownStatement]] = known_statements,
    ) -> None:
        """`check` gives the first verdict of a text, `keep` takes the result; nothing runs yet."""
        self._way, self._check, self._quiet_s, self._keep = way, check, quiet_s, keep
        self._spawn, self._rows = spawn, rows
        self._lock = threading.Lock()
        self._cancel = threading.Event()
        self._progress: Progress | None = None
        self._problem = ""

    @property
    def progress(self) -> Progress | None:
        """How far it is; None where none runs."""
        return self._progress

    @property
    def problem(self) -> str:
        """Why the last one gave no result, one sentence; "" where it gave one."""
        return self._problem

    def start(self, model: ReadingModel) -> None:
        """Starts to measure `model`.

        Raises:
            UserError: A measurement runs.
        """
        with self._lock:
            if self._progress is not None:
                raise UserError("The model is being measured already; cancel that first.")
            self._progress, self._problem = Progress(0, len(self._rows())), ""
            self._cancel = cancel = threading.Event()
        self._spawn(lambda: self._measure(model, cancel))

    def cancel(self) -> None:
        """Ends the measurement after the prompt that is read; nothing is kept of it."""
        self._cancel.set()

    def forget(self) -> None:
        """Another model is loaded: ends the measurement and what was said of the last one."""
        self._cancel.set()
        self._problem = ""

    def _measure(self, model: ReadingModel, cancel: threading.Event) -> None:
        problem = "The measurement ended with a fault; the log has its lines."
        try:
            self._keep(model, self._report(model, cancel))
            problem = ""
        except Stopped:
            problem = "Cancelled; nothing was kept."
        except GuardError as error:
            problem = str(error)
        finally:  # a fault of ours goes to the thread's own handler
            with self._lock:
                self._progress, self._problem = None, problem

    def _report(self, model: ReadingModel, cancel: threading.Event) -> ReaderReport:
        started_s = time.monotonic()
        reader = LoadedReader(
            model.name,
            model.tokens,
            model.fill,
            lambda: self._way.between_replies(cancel.is_set, self._quiet_s()),
        )

        def moved(done: int, total: int) -> None:
            left_s = (time.monotonic() - started_s) / done * (total - done) if done else None
            self._progress = Progress(done, total, left_s)

        try:
            found = measure_reader(
                self._rows(),
                reader,
                lambda question, document, answer: self._check(question, document, answer, cancel),
                moved,
            )
        except Stopped as stop:
            if self._way.too_slow_s is None:
                raise
            raise BackendError(
                f"One prompt takes this model {self._way.too_slow_s:.1f} s, and a request that comes "
                "meanwhile would wait as long: not asked."
            ) from stop
        return assessed(
            found,
            model=model.name,
            model_hash=model.model_hash,
            loader=model.loader,
            prompt_tokens=reader.prompt_tokens,
            took_s=time.monotonic() - started_s,
        )
