"""The form of the Settings tab that places ΔS's limits on somebody's gold set."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exllama_guard.core.html import Html, join
from exllama_guard.core.measures import FloatArray
from exllama_guard.monitor import batches
from exllama_guard.panel.card import Action, Card, PanelParts, Said, Visit, place
from exllama_guard.panel.check import markup_calibrate
from exllama_guard.panel.check.rows_calibrate import CalibrationRows, calibration_rows
from exllama_guard.panel.check.tasks import VisitorTasks
from exllama_guard.panel.packet import Page, Slot
from exllama_guard.panel.report.markup import problem, progress
from exllama_guard.probes import Progress, ReportProgress

__all__ = ["CalibrateCard"]


@dataclass(frozen=True, slots=True)
class _GoldFile:
    """A gold set that was sent, and its file's name."""

    text: str
    name: str


class CalibrateCard(Card):
    """Both limits beside each other: the present one and the one that fits the gold set."""

    tab = "settings"
    places = ("calibrated",)

    def __init__(self, parts: PanelParts) -> None:
        """Nothing is placed yet."""
        super().__init__(parts)
        self._tasks: VisitorTasks[_GoldFile, CalibrationRows] = VisitorTasks("calibration", self._calibrate)

    @classmethod
    def frame(cls) -> Html:
        """The form and the place of what came out."""
        return join(markup_calibrate.form(), place("calibrated"))

    @property
    def actions(self) -> Mapping[str, Action]:
        """Calibrate and cancel."""
        return {"calibrate": self._start, "cancel-calibrate": self._stop}

    def page(self, visit: Visit) -> Page:
        """How far it is, or both limits beside each other."""
        state = self._tasks.state(visit.visitor)
        if state is not None and state.running:
            now = state.progress
            share = None if now is None else now.done / now.total
            shown = progress(share, "" if now is None else now.sentence(), "Calibrating", "cancel-calibrate")
            return Page((Slot("calibrated", shown),), {"busy": True, "more": True})
        trouble = problem(state.problem if state is not None else "")
        placed = markup_calibrate.result(state.result if state is not None else None)
        return Page((Slot("calibrated", join(trouble, placed)),))

    def _calibrate(
        self, gold: _GoldFile, report_progress: ReportProgress, stop: threading.Event
    ) -> CalibrationRows:
        started_s, done = time.monotonic(), 0
        total = 2 * max(1, gold.text.count("\n"))
        source = self.parts.source

        def embed(texts: Sequence[str]) -> FloatArray:
            nonlocal done
            vectors = source.embed(texts)
            done += len(texts)
            spent_s = time.monotonic() - started_s
            left_s = spent_s / done * max(0, total - done) if done else None
            report_progress(Progress(min(done, total), total, "texts embedded", spent_s, left_s))
            return vectors

        return calibration_rows(
            gold.text,
            gold.name,
            source.snapshot().embedder,
            lambda texts: batches(texts, embed, stop),
            source.settings.distance_pass,
        )

    def _start(self, visit: Visit) -> Said:
        """Places the limits on the gold set that was sent."""
        gold = _GoldFile(str(visit.values.get("text", "")), str(visit.values.get("name", "the file")))
        rows = self._tasks.start(visit.visitor, gold)
        return {"say": rows.advice if rows is not None else "Calibrating."}

    def _stop(self, visit: Visit) -> Said:
        """Ends the calibration after the batch that runs."""
        self._tasks.stop(visit.visitor)
        return {"say": "Cancelled."}
