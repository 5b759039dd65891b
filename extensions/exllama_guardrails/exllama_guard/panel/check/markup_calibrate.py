"""HTML of the form that places the limits of ΔS, and of what came out."""

from __future__ import annotations

from exllama_guard.core.html import Html, el, join
from exllama_guard.panel.check.rows_calibrate import CalibrationRows
from exllama_guard.panel.forms import GOLD_FILES, file_row
from exllama_guard.panel.html import button, table

_HEAD = ("Limit", "ΔS up to", "Right passages accepted", "Nearest wrong ones accepted", "Balanced accuracy")


def form() -> Html:
    """The form; nothing in it changes while the page is open."""
    return el(
        "form",
        el("h4", "Calibrate ΔS"),
        el(
            "p",
            "A limit belongs to its embedder and your texts. Give a gold set: one JSON object a line with "
            "a question and its anchor, the passage that answers it; 20 are needed, 100 are better.",
            cls="eg-note",
        ),
        file_row("gold", "Gold set", GOLD_FILES, "Calibrate"),
        data_form="calibrate",
        cls="eg-form eg-calibrate",
    )


def result(rows: CalibrationRows | None) -> Html:
    """Both limits beside each other, and a button that takes the placed ones."""
    if rows is None:
        return Html("")
    body = [
        el("tr", [el("td", cell) for cell in (row.name, row.limit, row.right, row.wrong, row.balanced)])
        for row in rows.limits
    ]
    take = button("Use the placed limits", "use-limits", data_accept=rows.accept, data_reject=rows.reject)
    return join(el("p", rows.head), table(_HEAD, body), el("p", rows.advice), take)
