"""Work on what somebody gave the page: pasted texts are checked, a gold set places ΔS's limits.

Both run beside the page, tell how far they are, and end soon after Cancel.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from exllama_guard.core.measures import FloatArray
from exllama_guard.core.turns import Reader, TurnReport
from exllama_guard.monitor import batches
from exllama_guard.panel.check import markup_calibrate
from exllama_guard.panel.check.rows_calibrate import CalibrationRows, calibration_rows
from exllama_guard.panel.html import Html, join
from exllama_guard.panel.packet import Page, Slot
from exllama_guard.panel.report.markup import problem, progress
from exllama_guard.panel.source import PanelSource
from exllama_guard.panel.turn import markup as markup_turn
from exllama_guard.panel.turn.page import turn_page
from exllama_guard.panel.turn.rows import glance
from exllama_guard.probes import Progress, Task, Tell

__all__ = ["CalibrateCard", "CheckCard", "Visitor"]

_KEPT = 32  # of the last visitors
_AT_ONCE_S = 0.4  # what is done by then is shown with the click itself


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sends a message: a login name if there is one, and the browser session."""

    username: str | None
    session: str | None


R = TypeVar("R")
T = TypeVar("T")


class _Tasks(Generic[R, T]):
    """One task a visitor. Thread-safe; the lock protects the table."""

    def __init__(self, name: str, work: Callable[[R, Tell, threading.Event], T]) -> None:
        self._name, self._work = name, work
        self._lock = threading.Lock()
        self._tasks: OrderedDict[Visitor, Task[R, T]] = OrderedDict()

    def of(self, visitor: Visitor) -> Task[R, T] | None:
        with self._lock:
            return self._tasks.get(visitor)

    def start(self, visitor: Visitor, asked: R) -> str:
        """Starts the work and gives it a moment; a sentence where it cannot be started or failed, else ""."""
        with self._lock:
            task = self._tasks.setdefault(visitor, Task(self._name, self._work))
            self._tasks.move_to_end(visitor)
            while len(self._tasks) > _KEPT:
                self._tasks.popitem(last=False)[1].stop()
        said = task.start(asked)
        if said:
            return said
        until_s = time.monotonic() + _AT_ONCE_S
        while task.state.running and time.monotonic() < until_s:
            time.sleep(0.005)
        return task.state.problem

    def stop(self, visitor: Visitor) -> None:
        task = self.of(visitor)
        if task is not None:
            task.stop()

    def forget(self, visitor: Visitor) -> None:
        self.stop(visitor)
        with self._lock:
            self._tasks.pop(visitor, None)


@dataclass(frozen=True, slots=True)
class _Texts:
    """What somebody pasted."""

    question: str
    snippets: tuple[str, ...]
    answer: str
    reader: Reader


class CheckCard:
    """The Check tab."""

    def __init__(self, source: PanelSource) -> None:
        """Nothing is checked yet."""
        self._source = source
        self._tasks: _Tasks[_Texts, TurnReport] = _Tasks("check", self._check)

    def _check(self, texts: _Texts, tell: Tell, stop: threading.Event) -> TurnReport:
        return self._source.check_pasted(texts.question, texts.snippets, texts.answer, texts.reader, stop)

    def start(self, values: Mapping[str, object], visitor: Visitor, reader: Reader) -> dict[str, object]:
        """Checks the texts that were pasted."""
        snippets = str(values.get("snippets", "")).replace("\r\n", "\n").split("\n\n")
        question, answer = (str(values.get(name, "")) for name in ("question", "answer"))
        if not answer.strip():
            return {"say": "There is no answer to check; paste one."}
        texts = _Texts(question, tuple(text for text in snippets if text.strip()), answer, reader)
        said = self._tasks.start(visitor, texts)
        report = self._report(visitor)
        if said or report is None:
            return {"say": said or "Checking."}
        row = glance(report, self._source.settings)
        return {"say": f"{row.badge.word}. {row.reason}"}

    def stop(self, visitor: Visitor) -> dict[str, object]:
        """Ends the check after the batch that runs."""
        self._tasks.stop(visitor)
        return {"say": "Cancelled."}

    def clear(self, visitor: Visitor) -> dict[str, object]:
        """Forgets the last check."""
        self._tasks.forget(visitor)
        return {"say": "Cleared."}

    def page(self, visitor: Visitor, claim: str) -> Page:
        """The running check or the last one's result."""
        task = self._tasks.of(visitor)
        state = task.state if task is not None else None
        running = state is not None and state.running
        report = None if running else self._report(visitor)
        head = markup_turn.glance(glance(report, self._source.settings)) if report else Html("")
        doing = progress(None, "Checking …", "Checking", "cancel-check") if running else None
        page = turn_page(report, "p.", claim, self._source.settings, latest=True)
        slots = (
            Slot("checking", join(doing, problem(state.problem if state is not None else ""))),
            Slot("checked", head),
        )
        facts = {**page.facts, "checked": report is not None, "busy": running, "more": running}
        return Page((*slots, *page.first, *page.parts), facts)

    def _report(self, visitor: Visitor) -> TurnReport | None:
        task = self._tasks.of(visitor)
        return None if task is None else task.state.result


@dataclass(frozen=True, slots=True)
class _GoldFile:
    """A gold set that was sent, and its file's name."""

    text: str
    name: str


class CalibrateCard:
    """The form of the Settings tab that places ΔS's limits."""

    def __init__(self, source: PanelSource) -> None:
        """Nothing is placed yet."""
        self._source = source
        self._tasks: _Tasks[_GoldFile, CalibrationRows] = _Tasks("calibration", self._calibrate)

    def _calibrate(self, gold: _GoldFile, tell: Tell, stop: threading.Event) -> CalibrationRows:
        started_s, done = time.monotonic(), 0
        total = 2 * max(1, gold.text.count("\n"))

        def embed(texts: Sequence[str]) -> FloatArray:
            nonlocal done
            vectors = self._source.embed(texts)
            done += len(texts)
            spent_s = time.monotonic() - started_s
            left_s = spent_s / done * max(0, total - done) if done else None
            tell(Progress(min(done, total), total, "texts embedded", spent_s, left_s))
            return vectors

        return calibration_rows(
            gold.text,
            gold.name,
            self._source.snapshot().embedder,
            lambda texts: batches(texts, embed, stop),
            self._source.settings.distance_pass,
        )

    def start(self, values: Mapping[str, object], visitor: Visitor) -> dict[str, object]:
        """Places the limits on the gold set that was sent."""
        gold = _GoldFile(str(values.get("text", "")), str(values.get("name", "the file")))
        said = self._tasks.start(visitor, gold)
        rows = self._rows(visitor)
        return {"say": said or (rows.advice if rows is not None else "Calibrating.")}

    def stop(self, visitor: Visitor) -> dict[str, object]:
        """Ends the calibration after the batch that runs."""
        self._tasks.stop(visitor)
        return {"say": "Cancelled."}

    def page(self, visitor: Visitor) -> Page:
        """How far it is, or both limits beside each other."""
        task = self._tasks.of(visitor)
        state = task.state if task is not None else None
        if state is not None and state.running:
            now = state.progress
            share = None if now is None else now.done / now.total
            shown = progress(share, "" if now is None else now.sentence(), "Calibrating", "cancel-calibrate")
            return Page((Slot("calibrated", shown),), {"busy": True, "more": True})
        trouble = problem(state.problem if state is not None else "")
        return Page((Slot("calibrated", join(trouble, markup_calibrate.result(self._rows(visitor)))),))

    def _rows(self, visitor: Visitor) -> CalibrationRows | None:
        task = self._tasks.of(visitor)
        return None if task is None else task.state.result
