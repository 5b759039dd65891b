"""The second reader of a host: knows whether the loaded model is of use, and asks it when it is idle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from exllama_guard.core.turns import Finish, TurnReport
from exllama_guard.errors import BackendError, Stopped, TraceError, UserError
from exllama_guard.second_reader.calibration import KnownStatement, ReaderReport, known_statements
from exllama_guard.second_reader.measuring import CheckAnswer, Measuring, Progress
from exllama_guard.second_reader.model import LoadedReader, ReadingModel
from exllama_guard.second_reader.opinion import read_again, undecided
from exllama_guard.second_reader.right_of_way import Over, RightOfWay
from exllama_guard.second_reader.store import ReaderStore
from exllama_guard.second_reader.waiting_turns import Spawn, WaitingTurns
from exllama_guard.settings import Settings

__all__ = ["IDLE_S", "ReaderView", "SecondReader"]

IDLE_S = 1800.0  # without a reply, after which `auto` measures
_LOOK_S = 10.0  # how often it is looked whether that is so
_LAST_PROMPT_S = 2.0  # that the end waits for the prompt that is being read
_STEP_S = 0.02  # how often a reply that waits for an opinion looks whether somebody still wants it


@dataclass(frozen=True, slots=True)
class ReaderView:
    """What the panel shows. `problem` is one sentence, "" without one."""

    setting: str
    model: str = ""  # "": none that could be asked
    asks: bool = False  # undecided statements are asked about
    progress: Progress | None = None  # while it is measured
    known: ReaderReport | None = None  # what the last measurement of this model said
    problem: str = ""


class SecondReader:
    """One loaded model at a time. Thread-safe; `_lock` protects what is known of it.

    `spawn` runs a function on a thread of its own and tells of what it raises.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        way: RightOfWay,
        store: ReaderStore,
        *,
        open_model: Callable[[], ReadingModel | None],
        check: CheckAnswer,
        give_back: Callable[[TurnReport], None],
        spawn: Spawn,
        rows: Callable[[], Sequence[KnownStatement]] = known_statements,
        idle_s: float = IDLE_S,
    ) -> None:
        """Knows of no model yet.

        Args:
            settings: Those in force.
            way: When the model may read.
            store: The measurements that were kept.
            open_model: The loaded model; it raises BackendError where its loader cannot be asked.
            check: The first verdict of a question, a document and an answer.
            give_back: Takes each turn that was taken, once, with an opinion or without.
            spawn: Starts a thread.
            rows: What a model is measured on.
            idle_s: Seconds without a reply before `auto` measures.
        """
        self.way = way
        self._settings, self._store, self._open, self._spawn = settings, store, open_model, spawn
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._load: object = None
        self._unloaded = threading.Event()
        self._model: ReadingModel | None = None
        self._known: ReaderReport | None = None
        self._problem = ""
        self._waits_to_measure = False
        self._tried: set[str] = set()  # hashes of models that were measured by themselves
        self._turns = WaitingTurns(self._read, give_back, spawn)
        self.measuring = Measuring(way, check, self._quiet_s, self._keep, spawn, rows)

    # --- what the host's adapter calls ------------------------------------------------------------------

    def model_changed(self, load: object) -> None:
        """Takes note of a load (anything that differs from one load to the next) or an unload (None)."""
        with self._lock:
            if load == self._load:
                return
            self._load = load
            self._unloaded.set()
            self._unloaded = unloaded = threading.Event()
            self._model = self._known = None
            self._problem = ""
        self._turns.let_go()
        self.measuring.forget()
        self.way.started_anew()
        if load is not None:
            self._spawn(lambda: self._look(unloaded))

    def end(self) -> None:
        """Gives back what waits, and asks nothing any more until a model is loaded; takes 2 s at most."""
        self.model_changed(None)
        until_s = time.monotonic() + _LAST_PROMPT_S
        while self._turns.working and time.monotonic() < until_s:
            time.sleep(_STEP_S)

    # --- what turns ask ---------------------------------------------------------------------------------

    @property
    def asks(self) -> bool:
        """Whether the model is asked: it is set so, it was measured, and it is of use."""
        settings, known = self._settings(), self._known
        return (
            settings.enabled
            and settings.second_reader != "off"
            and self._model is not None
            and known is not None
            and known.is_of_use
            and self.way.too_slow_s is None
        )

    def take(self, report: TurnReport) -> bool:
        """True where the model will be asked about the finished turn, which is then given back later."""
        self._measure_when_idle()
        if not self._is_asked(report):
            return False
        self._turns.add(report)
        return True

    def at_once(
        self, report: TurnReport, limit_s: float, given_up: Callable[[], bool] = lambda: False
    ) -> TurnReport | None:
        """The report with the model's opinion, for a reply that holds the model; None where there is none.

        It waits at most `limit_s`; what is being read then ends behind the reply's back.
        """
        if limit_s <= 0 or not self._is_asked(report):
            return None
        over, done = threading.Event(), threading.Event()
        found: list[TurnReport] = []

        def ask() -> None:
            try:
                found.append(self._opinion(report, over.is_set, within=True))
            finally:
                done.set()

        until_s = time.monotonic() + limit_s
        self._spawn(ask)
        while not done.wait(_STEP_S) and time.monotonic() < until_s and not given_up():
            pass
        over.set()
        return found[0] if done.is_set() and found and found[0].second_reader is not None else None

    # --- what the panel calls ---------------------------------------------------------------------------

    def view(self) -> ReaderView:
        """What is known now; copies values only."""
        settings, slow_s = self._settings(), self.way.too_slow_s
        with self._lock:
            model, known, problem = self._model, self._known, self._problem
        if slow_s is not None and not self.measuring.problem:
            problem = f"A prompt takes this model {slow_s:.1f} s: not asked any more until it is loaded anew."
        return ReaderView(
            setting=settings.second_reader,
            model=model.name if model is not None else "",
            asks=self.asks,
            progress=self.measuring.progress,
            known=known,
            problem=self.measuring.problem or problem,
        )

    def start_measuring(self) -> None:
        """Starts to measure the loaded model.

        Raises:
            UserError: None is loaded that could be asked, or it is measured already.
        """
        with self._lock:
            model, problem = self._model, self._problem
        if model is None:
            raise UserError(problem or "No model is loaded that could be measured; load one first.")
        self.way.started_anew()
        self.measuring.start(model)

    # --- inside -----------------------------------------------------------------------------------------

    def _quiet_s(self) -> float:
        return self._settings().second_reader_wait_s

    def _is_asked(self, report: TurnReport) -> bool:
        """Whether there is something to ask about a turn of the model that is loaded."""
        model, wrote = self._model, report.request.model
        return (
            self.asks
            and report.second_reader is None
            and report.finish is Finish.COMPLETE
            and model is not None
            and wrote is not None
            and (wrote.name, wrote.loader) == (model.name, model.loader)
            and bool(undecided(report))
        )

    def _read(self, report: TurnReport, over: Over) -> TurnReport:
        return self._opinion(report, lambda: over() or not self.asks, within=False)

    def _opinion(self, report: TurnReport, over: Over, *, within: bool) -> TurnReport:
        """The report with what the model says; as it was where that is over before it is said."""
        model, known = self._model, self._known
        if model is None or known is None:
            return report
        way = (
            (lambda: self.way.within_a_reply(over))
            if within
            else lambda: self.way.between_replies(over, self._quiet_s())
        )
        try:
            settled = read_again(report, LoadedReader(model.name, model.tokens, model.fill, way), known.join)
        except Stopped:
            return report
        except BackendError as error:
            with self._lock:
                self._problem = f"The loaded model could not be asked: {error}"
            return report
        return report if self.way.too_slow_s is not None else settled

    def _look(self, unloaded: threading.Event) -> None:
        """Reads what is loaded, and what was measured of it before."""
        model, problem = None, ""
        try:
            model = self._open()
        except BackendError as error:
            problem = str(error)
        known = self._store.get(model.model_hash) if model is not None and model.model_hash else None
        if known is not None and model is not None and known.loader != model.loader:
            known = None  # another loader tells other things of the same files
        with self._lock:
            if unloaded.is_set():
                return
            self._model, self._known, self._problem = model, known, problem
        self._measure_when_idle()

    def _keep(self, model: ReadingModel, report: ReaderReport) -> None:
        """Takes a measurement, and keeps it for the next load of the same files."""
        with self._lock:
            if self._model is model:
                self._known = report
        if report.model_hash:
            try:
                self._store.add(report)
            except TraceError as error:
                with self._lock:
                    self._problem = str(error)

    # --- auto -------------------------------------------------------------------------------------------

    def _measure_when_idle(self) -> None:
        """Waits for an idle half hour, where the setting asks for it and the model was not measured."""
        with self._lock:
            if self._waits_to_measure or not self._wants_measuring():
                return
            self._waits_to_measure = True
            unloaded = self._unloaded
        self._spawn(lambda: self._wait_and_measure(unloaded))

    def _wants_measuring(self) -> bool:
        settings, model = self._settings(), self._model
        return (
            settings.enabled
            and settings.second_reader == "auto"
            and model is not None
            and model.model_hash not in self._tried
            and self._known is None
        )

    def _wait_and_measure(self, unloaded: threading.Event) -> None:
        look_s = min(_LOOK_S, self._idle_s / 10)
        try:
            while not unloaded.wait(look_s) and self._wants_measuring():
                if self.way.idle_s() >= self._idle_s and self.measuring.progress is None:
                    with self._lock:
                        self._tried.add(self._model.model_hash if self._model is not None else "")
                    self.start_measuring()
        finally:
            with self._lock:
                self._waits_to_measure = False
        if unloaded.is_set():
            self._measure_when_idle()  # another model, loaded meanwhile
