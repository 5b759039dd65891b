"""The Check tab: texts that somebody pasted are checked, without a model."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from exllama_guard.core.html import Html, el, join
from exllama_guard.core.turns import Reader, TurnReport
from exllama_guard.panel.card import Action, Card, PanelParts, Said, Visit, place
from exllama_guard.panel.check.markup import check_form
from exllama_guard.panel.check.tasks import VisitorTasks
from exllama_guard.panel.packet import Page, Slot
from exllama_guard.panel.report.markup import problem, progress
from exllama_guard.panel.turn import markup as turn_markup
from exllama_guard.panel.turn.page import turn_frame, turn_page
from exllama_guard.panel.turn.rows import glance
from exllama_guard.probes import ReportProgress

__all__ = ["CheckCard"]


@dataclass(frozen=True, slots=True)
class _Texts:
    """What somebody pasted."""

    question: str
    snippets: tuple[str, ...]
    answer: str
    reader: Reader


class CheckCard(Card):
    """The form for a question, its texts and an answer, and the verdict."""

    tab = "check"
    places = ("checking", "checked")

    def __init__(self, parts: PanelParts) -> None:
        """Nothing is checked yet."""
        super().__init__(parts)
        self._tasks: VisitorTasks[_Texts, TurnReport] = VisitorTasks("check", self._check)

    @classmethod
    def frame(cls) -> Html:
        """The form, and the places of a result, hidden until there is one."""
        head = el("div", data_slot="checked", cls="eg-glance eg-checked")
        result = el("div", head, turn_frame("p."), data_when="checked", hidden=True)
        return join(check_form(), place("checking"), result)

    @property
    def actions(self) -> Mapping[str, Action]:
        """Check, cancel, clear."""
        return {"check": self._start, "cancel-check": self._stop, "clear-check": self._clear}

    def page(self, visit: Visit) -> Page:
        """The running check or the last one's result."""
        state = self._tasks.state(visit.visitor)
        running = state is not None and state.running
        report = None if running or state is None else state.result
        settings = self.parts.source.settings
        head = turn_markup.glance(glance(report, settings)) if report else Html("")
        doing = progress(None, "Checking …", "Checking", "cancel-check") if running else None
        page = turn_page(report, "p.", visit.message.claim, settings, latest=True)
        slots = (
            Slot("checking", join(doing, problem(state.problem if state is not None else ""))),
            Slot("checked", head),
        )
        facts = {**page.facts, "checked": report is not None, "busy": running, "more": running}
        return Page((*slots, *page.first, *page.parts), facts)

    def _check(self, texts: _Texts, report_progress: ReportProgress, stop: threading.Event) -> TurnReport:
        source = self.parts.source
        return source.check_pasted(texts.question, texts.snippets, texts.answer, texts.reader, stop)

    def _start(self, visit: Visit) -> Said:
        """Checks the texts that were pasted."""
        values = visit.values
        snippets = str(values.get("snippets", "")).replace("\r\n", "\n").split("\n\n")
        question, answer = (str(values.get(name, "")) for name in ("question", "answer"))
        if not answer.strip():
            return {"say": "There is no answer to check; paste one."}
        texts = _Texts(question, tuple(text for text in snippets if text.strip()), answer, visit.reader)
        report = self._tasks.start(visit.visitor, texts)
        if report is None:
            return {"say": "Checking."}
        row = glance(report, self.parts.source.settings)
        return {"say": f"{row.badge.word}. {row.reason}"}

    def _stop(self, visit: Visit) -> Said:
        """Ends the check after the batch that runs."""
        self._tasks.stop(visit.visitor)
        return {"say": "Cancelled."}

    def _clear(self, visit: Visit) -> Said:
        """Forgets the last check."""
        self._tasks.forget(visit.visitor)
        return {"say": "Cleared."}
