"""The Probes and Doctor tabs: what they show, and what their buttons do. No gradio in here."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from exllama_guard.core.turns import Reader
from exllama_guard.errors import UserError
from exllama_guard.panel.html import Html
from exllama_guard.panel.over_time import markup_long
from exllama_guard.panel.over_time.rows_long import long_rows
from exllama_guard.panel.packet import Page, Slot
from exllama_guard.panel.probes import markup as markup_probes
from exllama_guard.panel.probes import markup_compare, markup_doctor
from exllama_guard.panel.probes.rows import (
    diagnosis_row,
    doctor_rows,
    editable_forms,
    finding_rows,
    probe_rows,
)
from exllama_guard.panel.probes.rows_compare import CompareRow, compare_row, picked_of
from exllama_guard.panel.report import markup as markup_report
from exllama_guard.panel.report.rows import ReportRows, report_rows, work_row
from exllama_guard.probes import MEASURING, LambdaProbe, ProbeDesk
from exllama_guard.report import Report, as_html, as_json, as_markdown

__all__ = ["PROBE_ACTIONS", "ProbeCards"]

_FORMS = 3
_READERS_KEPT = 16  # opened report files and picked modes, one a reader
_T = TypeVar("_T")
_NOT_YET = "The probes start with the extension; try again in a moment."


class ProbeCards:
    """The cards of one host's probes. Thread-safe; the lock protects what readers opened and picked."""

    def __init__(self, desk: Callable[[], ProbeDesk | None]) -> None:
        """Shows nothing yet; `desk` is asked each time, because the host's adapter makes it later."""
        self._desk = desk
        self._lock = threading.Lock()
        self._opened: OrderedDict[Reader, ReportRows] = OrderedDict()
        self._picked: OrderedDict[Reader, CompareRow] = OrderedDict()

    # --- what the tabs show -----------------------------------------------------------------------------

    def probes_page(self, reader: Reader, turn_id: str) -> Page:
        """The Probes tab."""
        desk = self._desk()
        compare = (
            Slot("compare", markup_compare.compare_form(self._compare_row(desk, reader))),
            Slot("reports", markup_compare.open_form()),
            Slot("opened", self._report(desk, reader)),
        )
        if desk is None:
            empties = (Slot(name, Html("")) for name in ("agreement", "gold", "golded", "replay", "replayed"))
            return Page((Slot("probe", markup_probes.waiting()), *empties, *compare))
        state, gold = desk.probe_state(reader), desk.verify_state(reader)
        rows = probe_rows(state)
        asked = _probe_for(desk, reader, turn_id)
        forms = asked.forms if isinstance(asked, LambdaProbe) else ()
        snippets = len(asked.snippets) if isinstance(asked, LambdaProbe) else 0
        report = desk.verify_report(reader)
        kept = None if report is None or gold.running else _rows_of(report, "Gold set")
        replaying = desk.replay_state(reader).running
        return Page(
            (
                Slot("probe", markup_probes.probe_form(forms, snippets, rows.work, bool(forms))),
                Slot("agreement", markup_probes.agreement(rows)),
                Slot("gold", markup_probes.gold_form(work_row(gold))),
                Slot("golded", markup_report.report(kept)),
                *self._replay(desk, reader),
                *compare,
            ),
            facts={"busy": state.running or gold.running or replaying},
        )

    def _replay(self, desk: ProbeDesk, reader: Reader) -> tuple[Slot, Slot]:
        state, report = desk.replay_state(reader), desk.replay_report(reader)
        form = markup_probes.replay_form(work_row(state))
        rows = None if report is None or state.running else _rows_of(report, "Extensions")
        return Slot("replay", form), Slot("replayed", markup_report.report(rows))

    def _compare_row(self, desk: ProbeDesk | None, reader: Reader) -> CompareRow:
        with self._lock:
            chosen = self._picked.get(reader)
        return compare_row(desk.comparison.models() if desk is not None else (), chosen)

    def _report(self, desk: ProbeDesk | None, reader: Reader) -> Html:
        """The report that was opened; else that of the last comparison."""
        with self._lock:
            opened = self._opened.get(reader)
        if opened is not None:
            return markup_report.report(opened, close="close-report")
        last = desk.comparison.last(reader) if desk is not None else ""
        try:
            return markup_report.report(report_rows(last, "The last comparison") if last else None)
        except UserError:
            return Html("")  # another file of this name

    def doctor_page(self, reader: Reader, turn_id: str) -> Page:
        """The Doctor tab."""
        desk = self._desk()
        if desk is None:
            empties = (Slot(name, Html("")) for name in ("checkup", "checked-up", "prompt"))
            return Page((Slot("findings", markup_probes.waiting()), *empties))
        state, probing = desk.doctor_state(reader), desk.probe_state(reader).running
        form = markup_doctor.checkup_form(work_row(state))
        checkup = None if state.result is None or state.running else doctor_rows(state.result)
        seen = finding_rows(desk.findings(reader))
        return Page(
            (
                Slot("findings", markup_doctor.findings(seen, checkup.found if checkup else ())),
                Slot("checkup", form),
                Slot("checked-up", markup_doctor.checkup(checkup)),
                Slot("prompt", self._prompt(desk, reader, turn_id)),
            ),
            facts={"busy": state.running or probing},
        )

    def _prompt(self, desk: ProbeDesk, reader: Reader, turn_id: str) -> Html:
        diagnosis = desk.diagnosis(reader, turn_id)
        if isinstance(diagnosis, str) and turn_id:
            diagnosis = desk.diagnosis(reader)
        if isinstance(diagnosis, str):
            return markup_doctor.prompt(diagnosis, "")
        asked = _probe_for(desk, reader, turn_id)
        about = asked.question if isinstance(asked, LambdaProbe) else "the newest answer"
        return markup_doctor.prompt(diagnosis_row(diagnosis), " ".join(about.split()))

    def long_chat(self, reader: Reader) -> Page:
        """The chat of the newest answer by turn, in the tab Over time."""
        desk = self._desk()
        if desk is None:
            return Page((Slot("long", Html("")),))
        run = desk.long_run(reader)
        busy = any(signs.topic_loss is MEASURING for signs in run.turns)
        facts = {"busy": True, "more": True} if busy else {}
        return Page((Slot("long", markup_long.long_chat(long_rows(run))),), facts=facts)

    # --- what the buttons do ----------------------------------------------------------------------------

    def start_probe(self, desk: ProbeDesk, values: Mapping[str, object], reader: Reader) -> dict[str, object]:
        """Asks the forms as they were edited."""
        written = (str(values.get(f"form_{place}", "")).strip() for place in range(_FORMS))
        forms = tuple(form for form in written if form)
        if not forms:
            return {"say": "There is no question; type one."}
        known = _probe_for(desk, reader, str(values.get("turn", "")))
        if isinstance(known, LambdaProbe):
            probe = replace(known, forms=forms)
        else:
            probe = LambdaProbe(forms[0], forms=forms if len(forms) > 1 else editable_forms(forms[0]))
        probe = replace(probe, strict=values.get("strict") is True)
        return {"say": desk.start_probe(reader, probe) or "Asking. People in the chat go first."}

    def stop_probe(self, desk: ProbeDesk, values: Mapping[str, object], reader: Reader) -> dict[str, object]:
        """Ends the probe at its next token."""
        desk.stop_probe(reader)
        return {"say": "Stopping at the next token; finished answers are kept."}

    def start_doctor(
        self, desk: ProbeDesk, values: Mapping[str, object], reader: Reader
    ) -> dict[str, object]:
        """Starts the checkup."""
        return {"say": desk.start_doctor(reader, str(values.get("reference", ""))) or "Looking."}

    def stop_doctor(self, desk: ProbeDesk, values: Mapping[str, object], reader: Reader) -> dict[str, object]:
        """Ends the checkup after the step that runs."""
        desk.stop_doctor(reader)
        return {"say": "Stopping after this step."}

    def start_verify(
        self, desk: ProbeDesk, values: Mapping[str, object], reader: Reader
    ) -> dict[str, object]:
        """Runs the gold set that was sent."""
        answers = values.get("answers") is True
        return {"say": desk.start_verify(reader, str(values.get("text", "")), answers=answers) or "Running."}

    def stop_verify(self, desk: ProbeDesk, values: Mapping[str, object], reader: Reader) -> dict[str, object]:
        """Ends the gold set at its next token."""
        desk.stop_verify(reader)
        return {"say": "Stopping at the next token; what is finished is shown."}

    def start_replay(
        self, desk: ProbeDesk, values: Mapping[str, object], reader: Reader
    ) -> dict[str, object]:
        """Asks the last questions again with other extensions on and off."""
        return {"say": desk.start_replay(reader) or "Asking again. People in the chat go first."}

    def stop_replay(self, desk: ProbeDesk, values: Mapping[str, object], reader: Reader) -> dict[str, object]:
        """Ends the replay at its next token."""
        desk.stop_replay(reader)
        return {"say": "Stopping at the next token; what is finished is shown."}

    def measure_missing(
        self, desk: ProbeDesk, values: Mapping[str, object], reader: Reader
    ) -> dict[str, object]:
        """Starts the λ probe that the diagnostic prompt lacks."""
        said = desk.start_missing(reader, str(values.get("turn", "")))
        return {
            "say": said or "Asking six times; the prompt then holds λ. The Probes tab shows how far it is."
        }

    def diagnose(self, desk: ProbeDesk, values: Mapping[str, object], reader: Reader) -> dict[str, object]:
        """The diagnostic prompt of a turn, to be copied by the page."""
        diagnosis = desk.diagnosis(reader, str(values.get("turn", "")))
        return {"say": diagnosis} if isinstance(diagnosis, str) else {"copy": diagnosis.prompt}

    def save_report(self, desk: ProbeDesk, values: Mapping[str, object], reader: Reader) -> dict[str, object]:
        """A report as a file."""
        what, kind = str(values.get("what", "")), str(values.get("kind", ""))
        made = {"probe": desk.probe_report, "doctor": desk.doctor_report, "verify": desk.verify_report}
        written = {
            "html": ("text/html", as_html),
            "json": ("application/json", _as_text),
            "md": ("text/markdown", as_markdown),
        }
        report = made[what](reader) if what in made else None
        if report is None or kind not in written:
            return {"say": "There is no such report; run it first."}
        media, write = written[kind]
        return {"file": {"name": f"guardrails-{what}.{kind}", "type": media, "text": write(report)}}

    def open_report(self, values: Mapping[str, object], reader: Reader) -> dict[str, object]:
        """Shows the report file that was sent."""
        rows = report_rows(str(values.get("text", "")), str(values.get("name", "The file")))
        with self._lock:
            _remember(self._opened, reader, rows)
        return {"say": "Opened."}

    def close_report(self, reader: Reader) -> dict[str, object]:
        """Takes the opened report away."""
        with self._lock:
            self._opened.pop(reader, None)
        return {}

    def pick_modes(self, desk: ProbeDesk, values: Mapping[str, object], reader: Reader) -> dict[str, object]:
        """Shows the command that compares the picked modes."""
        picked, gold = picked_of(values), str(values.get("gold") or "").strip()
        command = desk.comparison.command([each.mode for each in picked], gold)
        with self._lock:
            _remember(self._picked, reader, CompareRow((), picked=picked, gold=gold, command=command))
        return {"say": "Run it in a terminal, in the WebUI’s folder."}

    def act(self, name: str, values: Mapping[str, object], reader: Reader) -> dict[str, object] | None:
        """What action `name` has to say; None where it is none of these cards."""
        if name == "open-report":
            return self.open_report(values, reader)
        if name == "close-report":
            return self.close_report(reader)
        run = PROBE_ACTIONS.get(name)
        if run is None:
            return None
        desk = self._desk()
        return {"say": _NOT_YET} if desk is None else run(self, desk, values, reader)


def _remember(kept: OrderedDict[Reader, _T], reader: Reader, value: _T) -> None:
    """One value a reader; the oldest goes beyond the limit."""
    kept[reader] = value
    kept.move_to_end(reader)
    while len(kept) > _READERS_KEPT:
        kept.popitem(last=False)


def _probe_for(desk: ProbeDesk, reader: Reader, turn_id: str) -> LambdaProbe | str:
    """The probe of that turn, or of the newest where it is one that is not in memory."""
    found = desk.probe_for(reader, turn_id)
    return desk.probe_for(reader) if isinstance(found, str) and turn_id else found


def _rows_of(report: Report, name: str) -> ReportRows:
    return report_rows(_as_text(report), name)


def _as_text(report: Report) -> str:
    return json.dumps(as_json(report), ensure_ascii=False, indent=1)


_Act = Callable[[ProbeCards, ProbeDesk, Mapping[str, object], Reader], dict[str, object]]
PROBE_ACTIONS: dict[str, _Act] = {
    "probe": ProbeCards.start_probe,
    "stop-probe": ProbeCards.stop_probe,
    "doctor": ProbeCards.start_doctor,
    "stop-doctor": ProbeCards.stop_doctor,
    "verify": ProbeCards.start_verify,
    "stop-verify": ProbeCards.stop_verify,
    "replay": ProbeCards.start_replay,
    "stop-replay": ProbeCards.stop_replay,
    "compare": ProbeCards.pick_modes,
    "measure-missing": ProbeCards.measure_missing,
    "diagnose": ProbeCards.diagnose,
    "save-report": ProbeCards.save_report,
}
