"""Probes, doctor and diagnosis as plain rows for the panel; no markup, no gradio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from exllama_guard.core.measures import Gate
from exllama_guard.panel.report.rows import WorkRow, work_row
from exllama_guard.panel.turn.rows import Badge, badge, number
from exllama_guard.probes import ProbeState
from exllama_guard.probes.doctor import Checkup, Diagnosis, Observation
from exllama_guard.probes.measures import FORMS, LambdaReport, RunState, forms_of

__all__ = [
    "AnswerCell",
    "DiagnosisRow",
    "DoctorRow",
    "DoctorRows",
    "ProbeRows",
    "diagnosis_row",
    "doctor_rows",
    "editable_forms",
    "finding_rows",
    "probe_rows",
]

STATE_WORDS = {
    RunState.CONVERGENT: "agrees",
    RunState.RECURSIVE: "agrees in part",
    RunState.DIVERGENT: "gives up or cites nothing",
    RunState.CHAOTIC: "says something else",
}


@dataclass(frozen=True, slots=True)
class AnswerCell:
    """One answer of the grid; `group` is a letter that equal answers share, "" without one."""

    seed: str
    symbol: str
    word: str
    group: str
    cites: str
    text: str


@dataclass(frozen=True, slots=True)
class ProbeRows:
    """The λ card."""

    work: WorkRow
    badge: Badge | None
    symbol: str
    reasons: tuple[str, ...]
    numbers: tuple[tuple[str, str, str], ...]  # name, value, plain explanation
    grid: tuple[tuple[str, tuple[AnswerCell, ...]], ...]  # a form and its answers


@dataclass(frozen=True, slots=True)
class DoctorRow:
    """One symptom: what was seen last, how often, and the page that explains it ("" for what was not)."""

    id: str
    title: str
    badge: Badge
    evidence: str
    rule: str
    page_title: str
    page_url: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class DoctorRows:
    """The doctor's card: what to repair first, what was seen, what is clean, what was not measured."""

    headline: str
    found: tuple[DoctorRow, ...]
    clean: tuple[DoctorRow, ...]
    not_measured: tuple[DoctorRow, ...]


@dataclass(frozen=True, slots=True)
class DiagnosisRow:
    """The prompt to copy or to send, the page it names, and what could still be measured."""

    prompt: str
    page_title: str
    page_url: str
    offers: tuple[str, ...]
    page_for: str = ""  # the symptom whose page it is


def editable_forms(question: str) -> tuple[str, ...]:
    """The forms of a question as they stand in the fields before a run, the original first."""
    return forms_of(question, FORMS)


def probe_rows(state: ProbeState) -> ProbeRows:
    """The card of the last or the running probe."""
    report = state.result.report if state.result else None
    forms = state.result.forms if state.result else ()
    return ProbeRows(
        work=work_row(state),
        badge=badge(report.gate) if report else None,
        symbol=report.verdict.value if report and isinstance(report.verdict, RunState) else "",
        reasons=report.reasons if report else (),
        numbers=_numbers(report) if report else (),
        grid=_grid(report, forms) if report else (),
    )


def _numbers(report: LambdaReport) -> tuple[tuple[str, str, str], ...]:
    return (
        ("Runs that agree", f"{report.convergent} of {report.n}", "5 of 6 are needed, in strict mode all."),
        ("Lower bound", number(report.low), "With so few runs the true share may be as low as this (95 %)."),
        ("Spread of meaning", number(report.entropy), "0: one meaning; 1: no two answers mean the same."),
        ("Shared citations", number(report.iou), "1: every answer cites the same snippets."),
        ("Different answers", str(report.clusters), "Answers with other numbers or a not are never equal."),
    )


def _grid(report: LambdaReport, forms: Sequence[str]) -> tuple[tuple[str, tuple[AnswerCell, ...]], ...]:
    rows = []
    for place, form in enumerate(forms):
        cells = tuple(
            AnswerCell(
                seed=str(run.seed),
                symbol=run.state.value if run.state else "",
                word=STATE_WORDS[run.state] if run.state else "",
                group="" if run.cluster is None else chr(ord("A") + run.cluster % 26),
                cites=", ".join(sorted(run.cited)),
                text=run.text,
            )
            for run in report.runs
            if run.form == place
        )
        rows.append((form, cells))
    return tuple(rows)


def doctor_rows(checkup: Checkup) -> DoctorRows:
    """The doctor's card."""
    first = checkup.found[0] if checkup.found else None
    clean = f"{len(checkup.clean)} signs looked at, {len(checkup.not_measured)} not measured."
    headline = f"Repair first: {first.symptom.title}." if first else f"Nothing was found: {clean}"
    return DoctorRows(
        headline=headline,
        found=_counted(checkup.found),
        clean=_counted(checkup.clean),
        not_measured=_counted(checkup.not_measured),
    )


def finding_rows(seen: Sequence[Observation]) -> tuple[DoctorRow, ...]:
    """What use has shown, in its order."""
    return _counted(seen)


def _counted(seen: Sequence[Observation]) -> tuple[DoctorRow, ...]:
    """One row a symptom and verdict, in the order of their first; the last one's evidence."""
    rows: dict[tuple[str, Gate], DoctorRow] = {}
    for one in seen:
        key = (one.symptom.id, one.verdict)
        rows[key] = replace(_symptom(one), times=rows[key].times + 1 if key in rows else 1)
    return tuple(rows.values())


def _symptom(one: Observation) -> DoctorRow:
    page = one.pages[0] if one.pages else None
    return DoctorRow(
        id=one.symptom.id,
        title=one.symptom.title,
        badge=badge(one.verdict),
        evidence=one.evidence,
        rule=one.symptom.rule,
        page_title=page.title if page else "",
        page_url=page.url if page else "",
    )


def diagnosis_row(diagnosis: Diagnosis) -> DiagnosisRow:
    """The diagnostic prompt's card."""
    page = diagnosis.page
    return DiagnosisRow(
        diagnosis.prompt,
        page.title if page else "",
        page.url if page else "",
        diagnosis.offers,
        diagnosis.page_for,
    )
