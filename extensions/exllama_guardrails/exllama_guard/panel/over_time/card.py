"""The tab Over time: the last turns beside each other, and the long run of the newest chat."""

from __future__ import annotations

from exllama_guard.panel.card import Card, Visit
from exllama_guard.panel.history.archive import row_of
from exllama_guard.panel.history.markup import turn_list
from exllama_guard.panel.over_time import markup, markup_long
from exllama_guard.panel.over_time.rows import plot
from exllama_guard.panel.over_time.rows_long import long_rows
from exllama_guard.panel.packet import Page, Slot
from exllama_guard.probes import MEASURING
from exllama_guard.trace import record_of

__all__ = ["TimeCard"]


class TimeCard(Card):
    """Plots, the long run, and a list of the last turns."""

    tab = "time"
    places = ("plot", "long", "turns")

    def page(self, visit: Visit) -> Page:
        """The reader's last turns."""
        turns = visit.snapshot.turns
        drawn = markup.plot(plot(turns, visit.snapshot.events, self.parts.source.settings))
        listed = turn_list([row_of(record_of(turn)) for turn in turns])
        parts = (Slot("plot", drawn), Slot("turns", listed))
        desk = self.parts.probes()
        if desk is None:
            return Page(parts)
        run = desk.long_run(visit.reader)
        busy = any(signs.topic_loss is MEASURING for signs in run.turns)
        long = Slot("long", markup_long.long_chat(long_rows(run)))
        return Page((*parts, long), {"busy": True, "more": True} if busy else {})
