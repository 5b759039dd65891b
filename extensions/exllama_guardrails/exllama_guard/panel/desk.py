"""Answers a page's messages: what it shows now, and what somebody does in it. No gradio in here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exllama_guard.core.html import Html
from exllama_guard.core.turns import Finish
from exllama_guard.errors import GuardError
from exllama_guard.lifecycle import Lifecycle
from exllama_guard.panel.card import Action, PanelParts, Said, Visit, Visitor
from exllama_guard.panel.cards import CARDS
from exllama_guard.panel.history.archive import Archive
from exllama_guard.panel.message import Message, read_message
from exllama_guard.panel.packet import STREAMED_BYTES, Page, Part, Slot, packet
from exllama_guard.panel.problems import problems
from exllama_guard.panel.source import PanelSource, ToolSource
from exllama_guard.panel.turn import markup as turn_markup
from exllama_guard.panel.turn.rows import glance
from exllama_guard.probes import ProbeDesk
from exllama_guard.second_reader import SecondReader
from exllama_guard.settings import Settings

__all__ = ["Desk"]


class Desk:
    """Answers the messages of every page of one monitor. Thread-safe."""

    def __init__(
        self,
        source: PanelSource,
        *,
        tools: ToolSource | None = None,
        lifecycle: Callable[[], Lifecycle | None] = lambda: None,
        second: Callable[[], SecondReader | None] = lambda: None,
        probes: Callable[[], ProbeDesk | None] = lambda: None,
        keep: Callable[[Settings], str] | None = None,
    ) -> None:
        """Reads from `source`, `tools`, the lifecycle, the second reader and the probes; renders nothing."""
        self._source = source
        parts = PanelParts(source, Archive(source), tools, lifecycle, probes, keep, second)
        self._cards = tuple(card(parts) for card in CARDS)
        self._actions: dict[str, Action] = {"switch": self._switch}
        for card in self._cards:
            self._actions |= card.actions

    def answer(self, text: str, visitor: Visitor) -> str:
        """The packet for a message; "" where nothing has changed or the message is not one."""
        message = read_message(text)
        if message is None:
            return ""
        cards = [card for card in self._cards if card.tab == message.tab]
        settled = message.version == self._source.version and all(card.versioned for card in cards)
        if message.same and settled and not message.action:
            return ""
        said = self._act(self._visit(message, visitor)) if message.action else {}
        page = self._page(self._visit(message, visitor), said)
        streamed = message.same and not message.action and page.facts["live"] is True
        return packet(page, message.have, STREAMED_BYTES if streamed else None)

    def _visit(self, message: Message, visitor: Visitor) -> Visit:
        reader = self._source.reader_for(visitor.username, visitor.session)
        return Visit(message, visitor, reader, self._source.snapshot(reader))

    # --- what somebody does -----------------------------------------------------------------------------

    def _act(self, visit: Visit) -> Said:
        act = self._actions.get(visit.message.action)
        if act is None:
            return {"say": "This page is older than the extension; reload it."}
        try:
            return act(visit)
        except GuardError as error:
            return {"say": str(error)}

    def _switch(self, visit: Visit) -> Said:
        on = visit.values.get("value") is True
        self._source.set_enabled(on)
        return {"say": "Guardrails are on." if on else f"Guardrails are off. {self._while_off()}"}

    def _while_off(self) -> str:
        """What does not happen while the switch is off."""
        looked_up = ", and your folder is not searched" if self._source.settings.knowledge_folder else ""
        return f"Answers are not checked{looked_up}."

    # --- what a page shows ------------------------------------------------------------------------------

    def _page(self, visit: Visit, said: Mapping[str, object]) -> Page:
        snapshot, newest = visit.snapshot, visit.newest
        always = (
            Slot("glance", self._glance(visit)),
            Slot("problems", problems(snapshot.problems, snapshot.shed)),
        )
        live = snapshot.live is not None or snapshot.coming or snapshot.waiting > 0
        facts: dict[str, object] = {"v": snapshot.version, "on": snapshot.enabled, "live": live, **said}
        if newest is not None and newest.finish is not Finish.STREAMING:
            row = glance(newest, self._source.settings)
            facts["settled"] = f"{newest.request.turn_id}|{row.badge.word}. {row.reason}"
        parts: tuple[Part, ...] = always
        first: tuple[Part, ...] = ()
        for card in self._cards:
            if card.tab == visit.message.tab:
                page = card.page(visit)
                given = {part.id for part in page.parts}
                left = (Slot(name, Html("")) for name in card.places if name not in given)
                parts, first = (*parts, *page.parts, *left), (*first, *page.first)
                facts |= page.facts
        return Page(parts, facts, first)

    def _glance(self, visit: Visit) -> Html:
        snapshot, newest = visit.snapshot, visit.newest
        if not snapshot.enabled:
            return turn_markup.glance_empty("Off", f"{self._while_off()} The switch turns it on again.")
        if snapshot.doing:
            return turn_markup.glance_empty("Checking", snapshot.doing)
        if snapshot.coming and snapshot.live is None:
            return turn_markup.glance_empty("Checking", "A new answer is being written.")
        if newest is None and snapshot.model is None:
            return turn_markup.glance_empty("No model", "Once one is loaded, its answers are checked here.")
        if newest is None:
            return turn_markup.glance_empty(
                "No answer yet", "Ask the model something that needs its documents."
            )
        return turn_markup.glance(glance(newest, self._source.settings))
