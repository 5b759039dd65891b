"""Answers a page's messages: what it shows now, and what somebody does in it. No gradio in here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path

from exllama_guard.core.turns import Finish, Reader, TurnReport
from exllama_guard.errors import GuardError
from exllama_guard.lifecycle import Lifecycle
from exllama_guard.monitor import Snapshot
from exllama_guard.panel.cards import CARD_ACTIONS, Cards
from exllama_guard.panel.check.cards import CalibrateCard, CheckCard, Visitor
from exllama_guard.panel.history import markup as history_markup
from exllama_guard.panel.history.archive import (
    READING_S,
    HistoryBook,
    HistoryRow,
    Past,
    as_csv,
    as_json,
    filtered,
    page_of,
    row_of,
)
from exllama_guard.panel.html import Html
from exllama_guard.panel.message import Message, read_message
from exllama_guard.panel.over_time import markup as markup_plot
from exllama_guard.panel.over_time.rows import plot
from exllama_guard.panel.packet import STREAMED_BYTES, Page, Slot, packet
from exllama_guard.panel.probes.cards import ProbeCards
from exllama_guard.panel.problems import problems
from exllama_guard.panel.settings_form import settings_form
from exllama_guard.panel.source import PanelSource, ToolSource
from exllama_guard.panel.turn import markup as markup_turn
from exllama_guard.panel.turn.page import turn_page
from exllama_guard.panel.turn.rows import glance
from exllama_guard.panel.words import SETTINGS_ELSEWHERE
from exllama_guard.probes import ProbeDesk
from exllama_guard.settings import Settings
from exllama_guard.trace import record_of

_UNVERSIONED = frozenset(
    {"tools", "model", "probes", "doctor"}
)  # tabs that change without the monitor's version


class Desk:
    """Answers the messages of every page of one monitor. Thread-safe."""

    def __init__(
        self,
        source: PanelSource,
        *,
        tools: ToolSource | None = None,
        lifecycle: Callable[[], Lifecycle | None] = lambda: None,
        probes: Callable[[], ProbeDesk | None] = lambda: None,
    ) -> None:
        """Reads from `source`, `tools`, the lifecycle and the probes; nothing is rendered yet."""
        self._source = source
        started = source.settings
        self._host_folders = {
            "trace_folder": started.trace_folder,
            "knowledge_folder": started.knowledge_folder,
        }
        self._probes = ProbeCards(probes)
        self._cards = Cards(source, tools, lifecycle)
        self._check, self._calibrate = CheckCard(source), CalibrateCard(source)
        self._book = HistoryBook()

    def answer(self, text: str, visitor: Visitor) -> str:
        """The packet for a message; "" where nothing has changed or the message is not one."""
        message = read_message(text)
        if message is None:
            return ""
        settled = message.version == self._source.version and message.tab not in _UNVERSIONED
        if message.same and settled and not message.action:
            return ""
        said = self._act(message, visitor) if message.action else {}
        page = self._page(message, visitor, said)
        streamed = message.same and not message.action and page.facts["live"] is True
        return packet(page, message.have, STREAMED_BYTES if streamed else None)

    # --- what somebody does -----------------------------------------------------------------------------

    def _act(self, message: Message, visitor: Visitor) -> dict[str, object]:
        act, card = _ACTIONS.get(message.action), CARD_ACTIONS.get(message.action)
        try:
            if act is not None:
                return act(self, message, visitor)
            if card is not None:
                return card(self._cards, message.values, self._reader(visitor))
            said = self._on_visitor(message, visitor)
            if said is None:
                said = self._probes.act(message.action, message.values, self._reader(visitor))
            if said is not None:
                return said
        except GuardError as error:
            return {"say": str(error)}
        return {"say": "This page is older than the extension; reload it."}

    def _switch(self, message: Message, visitor: Visitor) -> dict[str, object]:
        on = message.values.get("value") is True
        self._source.set_enabled(on)
        return {"say": "Guardrails are on." if on else f"Guardrails are off. {self._while_off()}"}

    def _while_off(self) -> str:
        """What does not happen while the switch is off."""
        looked_up = ", and your folder is not searched" if self._source.settings.knowledge_folder else ""
        return f"Answers are not checked{looked_up}."

    def _on_visitor(self, message: Message, visitor: Visitor) -> dict[str, object] | None:
        """What a button of the Check tab or of the calibration does; None where it is another's."""
        if message.action == "check":
            return self._check.start(message.values, visitor, self._reader(visitor))
        if message.action == "calibrate":
            return self._calibrate.start(message.values, visitor)
        plain = {
            "cancel-check": self._check.stop,
            "clear-check": self._check.clear,
            "cancel-calibrate": self._calibrate.stop,
        }.get(message.action)
        return None if plain is None else plain(visitor)

    def _apply(self, message: Message, visitor: Visitor) -> dict[str, object]:
        known = {field.name for field in fields(Settings)} - set(SETTINGS_ELSEWHERE)
        values = {name: value for name, value in message.values.items() if name in known}
        problems = self._change(values)
        return {"say": " ".join(problems) or "Applied from the next reply on."}

    def _reset(self, message: Message, visitor: Visitor) -> dict[str, object]:
        defaults = {
            field.name: field.default for field in fields(Settings) if field.name not in SETTINGS_ELSEWHERE
        }
        problems = self._change(defaults | self._host_folders)
        return {"say": " ".join(problems) or "All settings are back at their defaults."}

    def _change(self, values: Mapping[str, object]) -> tuple[str, ...]:
        """Takes new values; an empty trace folder is the one that the host chose when it started."""
        own = self._host_folders["trace_folder"]
        kept = {"trace_folder": own} if values.get("trace_folder") == "" else {}
        return self._source.change_settings(**{**values, **kept})

    def _export(self, message: Message, visitor: Visitor) -> dict[str, object]:
        rows = filtered(self._history(visitor, float("inf")).rows, message.filter)
        kind = message.values.get("kind")
        texts: dict[object, tuple[str, Callable[[tuple[HistoryRow, ...]], str]]] = {
            "json": ("application/json", as_json),
            "csv": ("text/csv", as_csv),
            "html": ("text/html", history_markup.report_page),
        }
        if kind not in texts:
            return {"say": "Choose JSON, CSV or HTML."}
        media, write = texts[kind]
        file = {"name": f"guardrails-history.{kind}", "type": media, "text": write(rows)}
        return {"file": file, "say": "1 turn exported." if len(rows) == 1 else f"{len(rows)} turns exported."}

    # --- what a page shows ------------------------------------------------------------------------------

    def _reader(self, visitor: Visitor) -> Reader:
        return self._source.reader_for(visitor.username, visitor.session)

    def _page(self, message: Message, visitor: Visitor, said: Mapping[str, object]) -> Page:
        snapshot = self._source.snapshot(self._reader(visitor))
        newest = snapshot.live or (snapshot.turns[0] if snapshot.turns else None)
        always = (
            Slot("glance", self._glance(snapshot, newest)),
            Slot("problems", problems(snapshot.problems, snapshot.shed)),
        )
        live = snapshot.live is not None or snapshot.coming or snapshot.waiting > 0
        told: dict[str, object] = {"v": snapshot.version, "on": snapshot.enabled, "live": live, **said}
        if newest is not None and newest.finish is not Finish.STREAMING:
            row = glance(newest, self._source.settings)
            told["settled"] = f"{newest.request.turn_id}|{row.badge.word}. {row.reason}"
        more = self._tab(message, visitor, snapshot, newest)
        return Page((*always, *more.parts), {**told, **more.facts}, more.first)

    def _glance(self, snapshot: Snapshot, newest: TurnReport | None) -> Html:
        if not snapshot.enabled:
            return markup_turn.glance_empty("Off", f"{self._while_off()} The switch turns it on again.")
        if snapshot.doing:
            return markup_turn.glance_empty("Checking", snapshot.doing)
        if snapshot.coming and snapshot.live is None:
            return markup_turn.glance_empty("Checking", "A new answer is being written.")
        if newest is None and snapshot.model is None:
            return markup_turn.glance_empty("No model", "Once one is loaded, its answers are checked here.")
        if newest is None:
            return markup_turn.glance_empty(
                "No answer yet", "Ask the model something that needs its documents."
            )
        return markup_turn.glance(glance(newest, self._source.settings))

    def _tab(self, message: Message, visitor: Visitor, snapshot: Snapshot, newest: TurnReport | None) -> Page:
        settings = self._source.settings
        if message.tab == "turn":
            shown = self._turn(message.turn, visitor, snapshot, newest)
            return turn_page(shown, "t.", message.claim, settings, latest=shown is newest)
        if message.tab == "check":
            return self._check.page(visitor, message.claim)
        if message.tab == "time":
            rows = [row_of(record_of(turn)) for turn in snapshot.turns]
            drawn = markup_plot.plot(plot(snapshot.turns, snapshot.events, settings))
            long = self._probes.long_chat(self._reader(visitor))
            listed = Slot("turns", history_markup.turn_list(rows))
            return Page((Slot("plot", drawn), *long.parts, listed), long.facts)
        if message.tab == "history":
            past = self._history(visitor)
            shown_rows = history_markup.history(page_of(past, message.filter), message.filter)
            unread = {"busy": True, "more": True} if past.unread else {}
            return Page((Slot("history", shown_rows),), unread)
        if message.tab == "settings":
            form = Slot("settings", settings_form(settings))
            placed = self._calibrate.page(visitor)
            return Page((form, *placed.parts), placed.facts)
        if message.tab == "probes":
            return self._probes.probes_page(self._reader(visitor), message.turn)
        if message.tab == "doctor":
            return self._probes.doctor_page(self._reader(visitor), message.turn)
        if message.tab == "tools":
            return self._cards.tools_page(self._reader(visitor), snapshot)
        if message.tab == "model":
            return self._cards.model_page(snapshot)
        return Page(())

    def _turn(
        self, wanted: str, visitor: Visitor, snapshot: Snapshot, newest: TurnReport | None
    ) -> TurnReport | None:
        if not wanted:
            return newest
        kept = next((turn for turn in snapshot.turns if turn.request.turn_id == wanted), None)
        folder = self._folder()
        if kept is None and folder is not None:
            kept = self._book.open(folder, self._reader(visitor), wanted)
        return kept or newest

    def _history(self, visitor: Visitor, within_s: float = READING_S) -> Past:
        """The reader's turns from the traces, or where none are written, those in memory."""
        reader = self._reader(visitor)
        folder = self._folder()
        if folder is None:
            return Past(tuple(row_of(record_of(turn)) for turn in self._source.snapshot(reader).turns))
        return self._book.rows(folder, reader, within_s=within_s)

    def _folder(self) -> Path | None:
        settings = self._source.settings
        if not (settings.traces and settings.trace_folder):
            return None
        return Path(settings.trace_folder).expanduser()


_ACTIONS: dict[str, Callable[[Desk, Message, Visitor], dict[str, object]]] = {
    "switch": Desk._switch,
    "apply-settings": Desk._apply,
    "reset-settings": Desk._reset,
    "export": Desk._export,
}
