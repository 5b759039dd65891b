"""The History tab: past turns, filtered, page by page, and their export."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exllama_guard.panel.card import Action, Card, Said, Visit
from exllama_guard.panel.history import markup
from exllama_guard.panel.history.archive import HistoryRow, as_csv, as_json, filtered, page_of
from exllama_guard.panel.packet import Page, Slot

__all__ = ["HistoryCard"]

_TEXTS: Mapping[object, tuple[str, Callable[[tuple[HistoryRow, ...]], str]]] = {
    "json": ("application/json", as_json),
    "csv": ("text/csv", as_csv),
    "html": ("text/html", markup.report_page),
}


class HistoryCard(Card):
    """The reader's turns from the traces, or where none are written, those in memory."""

    tab = "history"
    places = ("history",)

    @property
    def actions(self) -> Mapping[str, Action]:
        """The export."""
        return {"export": self._export}

    def page(self, visit: Visit) -> Page:
        """One page of what passes the filters."""
        past = self.parts.archive.rows(visit.reader)
        chosen = visit.message.filter
        unread = {"busy": True, "more": True} if past.unread else {}
        return Page((Slot("history", markup.history(page_of(past, chosen), chosen)),), unread)

    def _export(self, visit: Visit) -> Said:
        past = self.parts.archive.rows(visit.reader, within_s=float("inf"))
        rows = filtered(past.rows, visit.message.filter)
        kind = visit.values.get("kind")
        if kind not in _TEXTS:
            return {"say": "Choose JSON, CSV or HTML."}
        media, write = _TEXTS[kind]
        file = {"name": f"guardrails-history.{kind}", "type": media, "text": write(rows)}
        return {"file": file, "say": "1 turn exported." if len(rows) == 1 else f"{len(rows)} turns exported."}
