"""The Model tab: what is loaded, how warm it is, its cache, and what its loader allows."""

from __future__ import annotations

from collections.abc import Mapping

from exllama_guard.lifecycle import context_of
from exllama_guard.panel.card import Action, Card, Said, Visit
from exllama_guard.panel.model import markup
from exllama_guard.panel.model.rows import model_rows
from exllama_guard.panel.packet import Page, Slot

__all__ = ["ModelCard"]


class ModelCard(Card):
    """The loaded model as the lifecycle follows it."""

    tab = "model"
    places = ("model", "cache", "drift", "loader")
    versioned = False

    @property
    def actions(self) -> Mapping[str, Action]:
        """The drift measurement."""
        return {"drift": self._measure_drift, "cancel-drift": self._cancel_drift}

    def page(self, visit: Visit) -> Page:
        """What the lifecycle knows by now."""
        follower, snapshot = self.parts.lifecycle(), visit.snapshot
        rows = model_rows(follower.snapshot()) if follower is not None else None
        busy = rows is not None and (rows.drift_bar is not None or rows.warming)
        return Page(
            (
                Slot("model", markup.model(rows, snapshot.model, snapshot.embedder)),
                Slot("cache", markup.cache(rows)),
                Slot("drift", markup.drift(rows)),
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
