"""The Tools and Model cards: what they show, and what their buttons do. No gradio in here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exllama_guard.core.turns import Reader
from exllama_guard.lifecycle import Lifecycle, context_of
from exllama_guard.monitor import Snapshot
from exllama_guard.panel.model import markup as markup_model
from exllama_guard.panel.model.rows import model_rows
from exllama_guard.panel.packet import Page, Slot
from exllama_guard.panel.source import PanelSource, ToolSource
from exllama_guard.panel.tools import markup as markup_tools
from exllama_guard.panel.tools.rows import may_see, tools_card

__all__ = ["CARD_ACTIONS", "Cards"]


class Cards:
    """The cards of one monitor, its tool lock and its lifecycle; each action gives what the page is told."""

    def __init__(
        self, source: PanelSource, tools: ToolSource | None, follower: Callable[[], Lifecycle | None]
    ) -> None:
        """Shows nothing yet."""
        self._source, self._tools, self._follower = source, tools, follower

    def schema(self, values: Mapping[str, object], reader: Reader) -> dict[str, object]:
        """Takes a JSON Schema for answers, or removes it."""
        text = str(values.get("answer_schema", "")).strip()
        problem = self._tools.schema_problem(text) if self._tools is not None else ""
        if problem:
            return {"say": problem}
        problems = self._source.change_settings(answer_schema=text)
        done = (
            "Every answer must fit this schema from the next reply on." if text else "Answers are free again."
        )
        return {"say": " ".join(problems) or done}

    def accept(self, values: Mapping[str, object], reader: Reader) -> dict[str, object]:
        """Locks a changed tool of one of the reader's own chats."""
        chat, name = str(values.get("chat", "")), str(values.get("tool", ""))
        seen = self._tools is not None and may_see(chat, reader)
        if not (seen and self._tools is not None and self._tools.accept(chat, name)):
            return {"say": "No change of this tool waits any more."}
        return {"say": f"{name} is locked as it is now."}

    def measure_drift(self, values: Mapping[str, object], reader: Reader) -> dict[str, object]:
        """Starts the drift measurement."""
        wanted, follower = values.get("max_tokens"), self._follower()
        if follower is None or wanted not in markup_model.DRIFT_LENGTHS:
            return {"say": "Drift can be measured once a model is loaded."}
        turns = context_of(self._source.snapshot(reader).turns[::-1])
        if not follower.upkeep.start_drift(int(str(wanted)), turns):
            return {"say": "A measurement runs already, or no model is loaded."}
        return {"say": "Measuring. Replies come first."}

    def cancel_drift(self, values: Mapping[str, object], reader: Reader) -> dict[str, object]:
        """Stops the drift measurement."""
        follower = self._follower()
        if follower is not None:
            follower.upkeep.cancel_drift()
        return {"say": "Stopping at the next token."}

    def tools_page(self, reader: Reader, snapshot: Snapshot) -> Page:
        """The Tools tab."""
        settings = self._source.settings
        loader = snapshot.model.loader if snapshot.model is not None else ""
        mode = settings.tool_lock if settings.enabled else "off"
        card = tools_card(self._tools, reader, loader, mode)
        return Page(
            (
                Slot("tools", markup_tools.tools(card)),
                Slot("answers", markup_tools.answers(card.answers, settings.answer_schema)),
                Slot("schema", markup_tools.schema_form(settings.answer_schema)),
            )
        )

    def model_page(self, snapshot: Snapshot) -> Page:
        """The Model tab."""
        follower = self._follower()
        rows = model_rows(follower.snapshot()) if follower is not None else None
        busy = rows is not None and (rows.drift_bar is not None or rows.warming)
        return Page(
            (
                Slot("model", markup_model.model(rows, snapshot.model, snapshot.embedder)),
                Slot("cache", markup_model.cache(rows)),
                Slot("drift", markup_model.drift(rows)),
                Slot("loader", markup_model.loader(rows, snapshot.capabilities, snapshot.events)),
            ),
            facts={"busy": busy},
        )


CARD_ACTIONS: dict[str, Callable[[Cards, Mapping[str, object], Reader], dict[str, object]]] = {
    "schema": Cards.schema,
    "accept": Cards.accept,
    "drift": Cards.measure_drift,
    "cancel-drift": Cards.cancel_drift,
}
