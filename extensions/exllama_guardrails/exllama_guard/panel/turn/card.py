"""The Turn tab: the newest answer, or the one that was chosen."""

from __future__ import annotations

from exllama_guard.core.html import Html
from exllama_guard.core.turns import TurnReport
from exllama_guard.panel.card import Card, Visit
from exllama_guard.panel.packet import Page
from exllama_guard.panel.turn.page import turn_frame, turn_page

__all__ = ["TurnCard"]


class TurnCard(Card):
    """One turn with its evidence."""

    tab = "turn"

    @classmethod
    def frame(cls) -> Html:
        """The places of a turn."""
        return turn_frame("t.")

    def page(self, visit: Visit) -> Page:
        """The turn that is looked at."""
        shown = self._turn(visit)
        settings = self.parts.source.settings
        return turn_page(shown, "t.", visit.message.claim, settings, latest=shown is visit.newest)

    def _turn(self, visit: Visit) -> TurnReport | None:
        wanted = visit.message.turn
        if not wanted:
            return visit.newest
        found = next((turn for turn in visit.snapshot.turns if turn.request.turn_id == wanted), None)
        return found or self.parts.archive.open(visit.reader, wanted) or visit.newest
