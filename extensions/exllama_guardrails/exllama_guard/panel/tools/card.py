"""The Tools tab: the locked tools of each chat, and the schema that answers must fit."""

from __future__ import annotations

from collections.abc import Mapping

from exllama_guard.panel.card import Action, Card, Said, Visit
from exllama_guard.panel.packet import Page, Slot
from exllama_guard.panel.tools import markup
from exllama_guard.panel.tools.rows import tool_tab
from exllama_guard.tools import may_see

__all__ = ["ToolsCard"]


class ToolsCard(Card):
    """What the tool lock knows of the reader's chats."""

    tab = "tools"
    places = ("tools", "answers", "schema")
    versioned = False

    @property
    def actions(self) -> Mapping[str, Action]:
        """The schema for answers, and accepting a changed tool."""
        return {"schema": self._schema, "accept": self._accept}

    def page(self, visit: Visit) -> Page:
        """The reader's chats and their tools."""
        settings, model = self.parts.source.settings, visit.snapshot.model
        loader = model.loader if model is not None else ""
        card = tool_tab(
            self.parts.tools, visit.reader, loader, settings.tool_lock if settings.enabled else "off"
        )
        return Page(
            (
                Slot("tools", markup.tools(card)),
                Slot("answers", markup.answers(card.answers, settings.answer_schema)),
                Slot("schema", markup.schema_form(settings.answer_schema)),
            )
        )

    def _schema(self, visit: Visit) -> Said:
        """Takes a JSON Schema for answers, or removes it."""
        text = str(visit.values.get("answer_schema", "")).strip()
        if self.parts.tools is not None:
            self.parts.tools.check_schema(text)
        problems = self.parts.source.change_settings(answer_schema=text)
        done = (
            "Every answer must fit this schema from the next reply on." if text else "Answers are free again."
        )
        return {"say": " ".join(problems) or done}

    def _accept(self, visit: Visit) -> Said:
        """Locks a changed tool of one of the reader's own chats."""
        chat, name = str(visit.values.get("chat", "")), str(visit.values.get("tool", ""))
        tools = self.parts.tools
        if tools is None or not may_see(chat, visit.reader) or not tools.accept(chat, name):
            return {"say": "No change of this tool waits any more."}
        return {"say": f"{name} is locked as it is now."}
