"""The Model tab: what is loaded, how warm it is, its cache, and what its loader allows."""

from __future__ import annotations

from collections.abc import Mapping

from exllama_guard.lifecycle import context_of
from exllama_guard.panel.card import Action, Card, Said, Visit
from exllama_guard.panel.model import markup, markup_reader
from exllama_guard.panel.model.rows import model_rows
from exllama_guard.panel.model.rows_reader import reader_rows
from exllama_guard.panel.packet import Page, Slot

__all__ = ["ModelCard"]


class ModelCard(Card):
    """The loaded model as the lifecycle follows it."""

    tab = "model"
    places = ("model", "cache", "drift", "second", "loader")
    versioned = False

    @property
    def actions(self) -> Mapping[str, Action]:
        """The drift measurement, and that of the model as a reader."""
        return {
            "drift": self._measure_drift,
            "cancel-drift": self._cancel_drift,
            "measure-reader": self._measure_reader,
            "cancel-measure-reader": self._cancel_reader,
        }

    def page(self, visit: Visit) -> Page:
        """What the lifecycle knows by now."""
        follower, snapshot = self.parts.lifecycle(), visit.snapshot
        rows = model_rows(follower.snapshot()) if follower is not None else None
        second = self.parts.second()
        reader = reader_rows(second.view()) if second is not None and snapshot.model is not None else None
        busy = rows is not None and (rows.drift_bar is not None or rows.warming)
        busy = busy or (reader is not None and reader.bar is not None)
        return Page(
            (
                Slot("model", markup.model(rows, snapshot.model, snapshot.embedder)),
                Slot("cache", markup.cache(rows)),
                Slot("drift", markup.drift(rows)),
                Slot("second", markup_reader.reader(reader)),
                Slot("loader", markup.loader(rows, snapshot.capabilities, snapshot.events)),
            ),
            facts={"busy": busy},
        )

    def _measure_drift(self, visit: Visit) -> Said:
        """Starts the drift measurement."""
        wanted, follower = visit.values.get("max_tokens"), self.parts.lifecycle()
        if follower is None or wanted not in markup.DRIFT_LENGTHS:
            return {"say": "Drift can be measured once a model is loaded."}
        turns = context_of(visit.snapshot.turns[::-1])
        if not follower.upkeep.start_drift(int(str(wanted)), turns):
            return {"say": "A measurement runs already, or no model is loaded."}
        return {"say": "Measuring. Replies come first."}

    def _cancel_drift(self, visit: Visit) -> Said:
        """Stops the drift measurement."""
        follower = self.parts.lifecycle()
        if follower is not None:
            follower.upkeep.cancel_drift()
        return {"say": "Stopping at the next token."}

    def _measure_reader(self, visit: Visit) -> Said:
        """Starts to measure the model as a reader."""
        second = self.parts.second()
        if second is None:
            return {"say": "The model can be measured once one is loaded."}
        second.start_measuring()
        return {"say": "Measuring. Replies come first."}

    def _cancel_reader(self, visit: Visit) -> Said:
        """Ends that measurement."""
        second = self.parts.second()
        if second is not None:
            second.measuring.cancel()
        return {"say": "Stopping after the prompt that is read."}
