"""The Doctor tab: what use has shown, the checkup, and the diagnostic prompt."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from exllama_guard.core.html import Html
from exllama_guard.core.turns import Reader
from exllama_guard.errors import UserError
from exllama_guard.panel.card import Action, Card, Said, Visit
from exllama_guard.panel.packet import Page, Slot
from exllama_guard.panel.probes import markup, markup_doctor
from exllama_guard.panel.probes.card import probe_for, with_desk
from exllama_guard.panel.probes.rows import diagnosis_row, doctor_rows, finding_rows
from exllama_guard.panel.report.rows import work_row
from exllama_guard.probes import ProbeDesk
from exllama_guard.probes.doctor import Diagnosis

__all__ = ["DoctorCard"]


class DoctorCard(Card):
    """Findings, the first to repair first."""

    tab = "doctor"
    places = ("findings", "checkup", "checked-up", "prompt")
    versioned = False

    @property
    def actions(self) -> Mapping[str, Action]:
        """The checkup, and the prompt with what it lacks."""
        return {
            "doctor": with_desk(self.parts, self._start),
            "stop-doctor": with_desk(self.parts, self._stop),
            "measure-missing": with_desk(self.parts, self._measure_missing),
            "diagnose": with_desk(self.parts, self._diagnose),
        }

    def page(self, visit: Visit) -> Page:
        """What was found so far, and how far the checkup is."""
        desk, reader = self.parts.probes(), visit.reader
        if desk is None:
            return Page((Slot("findings", markup.waiting()),))
        state, probing = desk.doctor_state(reader), desk.probe_state(reader).running
        checkup = None if state.result is None or state.running else doctor_rows(state.result)
        seen = finding_rows(desk.findings(reader))
        return Page(
            (
                Slot("findings", markup_doctor.findings(seen, checkup.found if checkup else ())),
                Slot("checkup", markup_doctor.checkup_form(work_row(state))),
                Slot("checked-up", markup_doctor.checkup(checkup)),
                Slot("prompt", _prompt(desk, reader, visit.message.turn)),
            ),
            facts={"busy": state.running or probing},
        )

    def _start(self, desk: ProbeDesk, visit: Visit) -> Said:
        """Starts the checkup."""
        desk.start_doctor(visit.reader, str(visit.values.get("reference", "")))
        return {"say": "Looking."}

    def _stop(self, desk: ProbeDesk, visit: Visit) -> Said:
        """Ends the checkup after the step that runs."""
        desk.stop_doctor(visit.reader)
        return {"say": "Stopping after this step."}

    def _measure_missing(self, desk: ProbeDesk, visit: Visit) -> Said:
        """Starts the λ probe that the diagnostic prompt lacks."""
        desk.start_missing(visit.reader, str(visit.values.get("turn", "")))
        return {"say": "Asking six times; the prompt then holds λ. The Probes tab shows how far it is."}

    def _diagnose(self, desk: ProbeDesk, visit: Visit) -> Said:
        """The diagnostic prompt of a turn, to be copied by the page."""
        return {"copy": desk.diagnosis(visit.reader, str(visit.values.get("turn", ""))).prompt}


def _prompt(desk: ProbeDesk, reader: Reader, turn_id: str) -> Html:
    try:
        diagnosis = _diagnosis(desk, reader, turn_id)
    except UserError as error:
        return markup_doctor.prompt(str(error), "")
    asked = probe_for(desk, reader, turn_id)
    about = asked.question if asked is not None else "the newest answer"
    return markup_doctor.prompt(diagnosis_row(diagnosis), " ".join(about.split()))


def _diagnosis(desk: ProbeDesk, reader: Reader, turn_id: str) -> Diagnosis:
    """The diagnosis of that turn, or of the newest where it is one that is not in memory."""
    if turn_id:
        with suppress(UserError):
            return desk.diagnosis(reader, turn_id)
    return desk.diagnosis(reader)
