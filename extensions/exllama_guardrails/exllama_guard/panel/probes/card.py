"""The Probes tab: λ of a question, a gold set, replays, comparisons of modes, reports of the commands."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from exllama_guard.core.html import Html
from exllama_guard.core.turns import Reader
from exllama_guard.errors import UserError
from exllama_guard.panel.card import Action, Card, PanelParts, Said, Visit
from exllama_guard.panel.packet import Page, Slot
from exllama_guard.panel.probes import markup, markup_compare
from exllama_guard.panel.probes.rows import editable_forms, probe_rows
from exllama_guard.panel.probes.rows_compare import CompareRow, compare_row, picked_of
from exllama_guard.panel.report import markup as report_markup
from exllama_guard.panel.report.rows import ReportRows, report_rows, rows_of, work_row
from exllama_guard.probes import LambdaProbe, ProbeDesk
from exllama_guard.report import as_html, as_json_text, as_markdown

__all__ = ["ProbesCard", "probe_for", "with_desk"]

_FORMS = 3
_READERS_KEPT = 16  # opened report files and picked modes, one a reader
_T = TypeVar("_T")
_FILES = {
    "html": ("text/html", as_html),
    "json": ("application/json", as_json_text),
    "md": ("text/markdown", as_markdown),
}


class ProbesCard(Card):
    """What a probe asks, how far it is, what it found. The lock protects what readers opened and picked."""

    tab = "probes"
    places = ("probe", "agreement", "gold", "golded", "replay", "replayed", "compare", "reports", "opened")
    versioned = False

    def __init__(self, parts: PanelParts) -> None:
        """Nothing is opened or picked yet."""
        super().__init__(parts)
        self._lock = threading.Lock()
        self._opened: OrderedDict[Reader, ReportRows] = OrderedDict()
        self._picked: OrderedDict[Reader, CompareRow] = OrderedDict()

    @property
    def actions(self) -> Mapping[str, Action]:
        """Start and stop of each probe, the command that compares, reports as files."""
        return {
            "probe": with_desk(self.parts, self._start_probe),
            "stop-probe": with_desk(self.parts, self._stop_probe),
            "verify": with_desk(self.parts, self._start_verify),
            "stop-verify": with_desk(self.parts, self._stop_verify),
            "replay": with_desk(self.parts, self._start_replay),
            "stop-replay": with_desk(self.parts, self._stop_replay),
            "compare": with_desk(self.parts, self._pick_modes),
            "save-report": with_desk(self.parts, self._save_report),
            "open-report": self._open_report,
            "close-report": self._close_report,
        }

    def page(self, visit: Visit) -> Page:
        """The state of every probe of this reader."""
        desk, reader = self.parts.probes(), visit.reader
        compare = (
            Slot("compare", markup_compare.compare_form(self._compare_row(desk, reader))),
            Slot("reports", markup_compare.open_form()),
            Slot("opened", self._report(desk, reader)),
        )
        if desk is None:
            return Page((Slot("probe", markup.waiting()), *compare))
        state, gold = desk.probe_state(reader), desk.verify_state(reader)
        rows = probe_rows(state)
        asked = probe_for(desk, reader, visit.message.turn)
        forms, snippets = ((), 0) if asked is None else (asked.forms, len(asked.snippets))
        report = desk.verify_report(reader)
        verified = None if report is None or gold.running else rows_of(report, "Gold set")
        replaying = desk.replay_state(reader).running
        return Page(
            (
                Slot("probe", markup.probe_form(forms, snippets, rows.work, bool(forms))),
                Slot("agreement", markup.agreement(rows)),
                Slot("gold", markup.gold_form(work_row(gold))),
                Slot("golded", report_markup.report(verified)),
                *self._replay(desk, reader),
                *compare,
            ),
            facts={"busy": state.running or gold.running or replaying},
        )

    def _replay(self, desk: ProbeDesk, reader: Reader) -> tuple[Slot, Slot]:
        state, report = desk.replay_state(reader), desk.replay_report(reader)
        form = markup.replay_form(work_row(state))
        rows = None if report is None or state.running else rows_of(report, "Extensions")
        return Slot("replay", form), Slot("replayed", report_markup.report(rows))

    def _compare_row(self, desk: ProbeDesk | None, reader: Reader) -> CompareRow:
        with self._lock:
            chosen = self._picked.get(reader)
        return compare_row(desk.comparison.models() if desk is not None else (), chosen)

    def _report(self, desk: ProbeDesk | None, reader: Reader) -> Html:
        """The report that was opened; else that of the last comparison."""
        with self._lock:
            opened = self._opened.get(reader)
        if opened is not None:
            return report_markup.report(opened, close="close-report")
        last = desk.comparison.last(reader) if desk is not None else ""
        try:
            return report_markup.report(report_rows(last, "The last comparison") if last else None)
        except UserError:
            return Html("")  # another file of this name

    # --- what the buttons do ----------------------------------------------------------------------------

    def _start_probe(self, desk: ProbeDesk, visit: Visit) -> Said:
        """Asks the forms as they were edited."""
        values = visit.values
        written = (str(values.get(f"form_{place}", "")).strip() for place in range(_FORMS))
        forms = tuple(form for form in written if form)
        if not forms:
            return {"say": "There is no question; type one."}
        known = probe_for(desk, visit.reader, str(values.get("turn", "")))
        if known is not None:
            probe = replace(known, forms=forms)
        else:
            probe = LambdaProbe(forms[0], forms=forms if len(forms) > 1 else editable_forms(forms[0]))
        probe = replace(probe, strict=values.get("strict") is True)
        desk.start_probe(visit.reader, probe)
        return {"say": "Asking. People in the chat go first."}

    def _stop_probe(self, desk: ProbeDesk, visit: Visit) -> Said:
        """Ends the probe at its next token."""
        desk.stop_probe(visit.reader)
        return {"say": "Stopping at the next token; finished answers are kept."}

    def _start_verify(self, desk: ProbeDesk, visit: Visit) -> Said:
        """Runs the gold set that was sent."""
        text, answers = str(visit.values.get("text", "")), visit.values.get("answers") is True
        desk.start_verify(visit.reader, text, answers=answers)
        return {"say": "Running."}

    def _stop_verify(self, desk: ProbeDesk, visit: Visit) -> Said:
        """Ends the gold set at its next token."""
        desk.stop_verify(visit.reader)
        return {"say": "Stopping at the next token; what is finished is shown."}

    def _start_replay(self, desk: ProbeDesk, visit: Visit) -> Said:
        """Asks the last questions again with other extensions on and off."""
        desk.start_replay(visit.reader)
        return {"say": "Asking again. People in the chat go first."}

    def _stop_replay(self, desk: ProbeDesk, visit: Visit) -> Said:
        """Ends the replay at its next token."""
        desk.stop_replay(visit.reader)
        return {"say": "Stopping at the next token; what is finished is shown."}

    def _save_report(self, desk: ProbeDesk, visit: Visit) -> Said:
        """A report as a file."""
        what, kind = str(visit.values.get("what", "")), str(visit.values.get("kind", ""))
        made = {"probe": desk.probe_report, "doctor": desk.doctor_report, "verify": desk.verify_report}
        report = made[what](visit.reader) if what in made else None
        if report is None or kind not in _FILES:
            return {"say": "There is no such report; run it first."}
        media, write = _FILES[kind]
        return {"file": {"name": f"guardrails-{what}.{kind}", "type": media, "text": write(report)}}

    def _open_report(self, visit: Visit) -> Said:
        """Shows the report file that was sent."""
        rows = report_rows(str(visit.values.get("text", "")), str(visit.values.get("name", "The file")))
        with self._lock:
            _remember(self._opened, visit.reader, rows)
        return {"say": "Opened."}

    def _close_report(self, visit: Visit) -> Said:
        """Takes the opened report away."""
        with self._lock:
            self._opened.pop(visit.reader, None)
        return {}

    def _pick_modes(self, desk: ProbeDesk, visit: Visit) -> Said:
        """Shows the command that compares the picked modes."""
        picked, gold = picked_of(visit.values), str(visit.values.get("gold") or "").strip()
        command = desk.comparison.command([each.mode for each in picked], gold)
        with self._lock:
            _remember(self._picked, visit.reader, CompareRow((), picked=picked, gold=gold, command=command))
        return {"say": "Run it in a terminal, in the WebUI’s folder."}


def with_desk(parts: PanelParts, run: Callable[[ProbeDesk, Visit], Said]) -> Action:
    """The action `run` over the desk, or a sentence while there is none."""

    def act(visit: Visit) -> Said:
        desk = parts.probes()
        if desk is None:
            return {"say": "The probes start with the extension; try again in a moment."}
        return run(desk, visit)

    return act


def probe_for(desk: ProbeDesk, reader: Reader, turn_id: str) -> LambdaProbe | None:
    """The probe of that turn, or of the newest where it is one that is not in memory; None without a turn."""
    for wanted in dict.fromkeys((turn_id, "")):
        with suppress(UserError):
            return desk.probe_for(reader, wanted)
    return None


def _remember(kept: OrderedDict[Reader, _T], reader: Reader, value: _T) -> None:
    """One value a reader; the oldest goes beyond the limit."""
    kept[reader] = value
    kept.move_to_end(reader)
    while len(kept) > _READERS_KEPT:
        kept.popitem(last=False)
