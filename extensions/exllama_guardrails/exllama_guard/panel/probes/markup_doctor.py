"""HTML of the Doctor tab: what use has shown, the checkup, and the diagnostic prompt."""

from __future__ import annotations

from collections.abc import Sequence

from exllama_guard.core.html import Html, el, join, source_link
from exllama_guard.panel.forms import submit
from exllama_guard.panel.html import badge, button, empty
from exllama_guard.panel.probes.rows import DiagnosisRow, DoctorRow, DoctorRows
from exllama_guard.panel.report.markup import downloads, work_card
from exllama_guard.panel.report.rows import WorkRow

__all__ = ["checkup", "checkup_form", "findings", "prompt"]


def findings(rows: Sequence[DoctorRow], in_checkup: Sequence[DoctorRow] = ()) -> Html:
    """What showed while the model was used, the first to be repaired first, without what is `in_checkup`."""
    head = el("h4", "Seen while you used it")
    if not rows:
        nothing = "Nothing yet. Faults that show in answers, tools, cache or load appear here by themselves."
        return join(head, el("p", nothing, cls="eg-note"))
    shown_words = {(row.id, row.evidence) for row in in_checkup}
    new = [row for row in rows if (row.id, row.evidence) not in shown_words]
    if not new:
        return join(head, el("p", "All of it stands in the checkup’s result.", cls="eg-note"))
    return join(head, _list(new))


def checkup_form(work: WorkRow) -> Html:
    """The button that starts the checkup, or how far it is."""
    return work_card(
        "Checkup",
        "Looks at the model’s files, has it read plain English, and looks through your turns. "
        "Nothing is sent anywhere.",
        work,
        el(
            "form",
            el(
                "div",
                submit("Start the checkup", primary=True),
                el(
                    "label",
                    el("span", "Compare with (optional)", cls="eg-label"),
                    el("input", type="text", name="reference", data_kind="str", placeholder="models/…"),
                    cls="eg-inline",
                ),
                cls="eg-row",
            ),
            data_form="doctor",
            cls="eg-form",
        ),
        label="Checkup",
        stop="stop-doctor",
    )


def checkup(rows: DoctorRows | None) -> Html:
    """What was seen, what is clean, and what was not measured and why."""
    if rows is None:
        return Html("")
    return join(
        el("div", el("p", rows.headline, cls="eg-question"), downloads("doctor"), cls="eg-ev-head"),
        _list(rows.found) if rows.found else None,
        _folded("Not measured", rows.not_measured),
        _folded("Looked at and clean", rows.clean),
    )


def _folded(title: str, rows: Sequence[DoctorRow]) -> Html | None:
    if not rows:
        return None
    return el(
        "details",
        el("summary", el("b", title), el("span", str(len(rows)), cls="eg-note")),
        el("ul", [_short(row) for row in rows], cls="eg-plainlist"),
        cls="eg-sn",
    )


def _short(row: DoctorRow) -> Html:
    times = f", {row.times} times" if row.times > 1 else ""
    return el("li", el("b", row.title), el("span", f" {row.id}{times}: {row.evidence}", cls="eg-note"))


def _list(rows: Sequence[DoctorRow]) -> Html:
    return el("ul", [_finding(row) for row in rows], cls="eg-verdicts")


def _finding(row: DoctorRow) -> Html:
    page = (
        el("div", el("a", row.page_title, href=row.page_url, target="_blank", rel="noopener noreferrer"))
        if row.page_url.startswith("https://")
        else source_link(row.page_url)
    )
    return el(
        "li",
        badge(row.badge.word, row.badge.tone),
        el(
            "div",
            el("b", row.title),
            el("span", f" {row.id}" + (f", {row.times} times" if row.times > 1 else ""), cls="eg-note"),
            el("div", ("Last: " if row.times > 1 else "") + row.evidence),
            page,
            el("div", f"Rule: {row.rule}", cls="eg-note"),
        ),
    )


def _coded(text: str) -> Html:
    """The text with what stands between backticks as code."""
    return join(*[el("code", part) if at % 2 else part for at, part in enumerate(text.split("`"))])


def prompt(row: DiagnosisRow | str, about: str) -> Html:
    """The diagnostic prompt, filled with what was measured; copied or sent with one click."""
    head = el("h4", "Diagnostic prompt")
    if isinstance(row, str):
        return join(head, empty("No answer to diagnose yet", row))
    page = (
        el(
            "p",
            f"Page for {row.page_for}: ",
            el("a", row.page_title, href=row.page_url, target="_blank", rel="noopener noreferrer"),
        )
        if row.page_url
        else None
    )
    offers = [el("li", _coded(offer)) for offer in row.offers]
    return join(
        head,
        el(
            "p",
            f"For “{about}”. The numbers are measured; the model is asked only to explain them and to name "
            "the next step.",
            cls="eg-note",
        ),
        el(
            "div",
            button("Copy", "copy-prompt", cls="eg-btn eg-primary"),
            button("Send into the chat", "send-prompt"),
            button("Measure λ now", "measure-missing") if offers else None,
            cls="eg-row",
        ),
        el("ul", offers, cls="eg-note eg-plainlist") if offers else None,
        el(
            "pre", row.prompt, cls="eg-prompt", tabindex="0", data_prompt=True, aria_label="Diagnostic prompt"
        ),
        page,
    )
