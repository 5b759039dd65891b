"""HTML of the loaded model as a second reader: the button that measures it, and what that showed."""

from __future__ import annotations

from exllama_guard.core.html import Html, el, join
from exllama_guard.panel.html import button
from exllama_guard.panel.model.markup import about, bar
from exllama_guard.panel.model.rows_reader import ReaderRows

__all__ = ["reader"]

_WHAT = (
    "Can this model tell supported statements from wrong ones? 200 statements of known standing are put to "
    "it; nothing is written. Where that makes the verdict better, it is asked about the undecided statements "
    "of its answers. Replies come first; it takes minutes to hours on a slow machine."
)


def reader(rows: ReaderRows | None) -> Html:
    """How far the measurement is, or its result in a sentence, the figures, and the button."""
    if rows is None:
        return Html("")
    title = el("h4", "As a second reader")
    problem = el("p", rows.problem, cls="eg-note") if rows.problem else None
    if rows.bar is not None:
        running = el(
            "div",
            bar(rows.bar, "Measurement as a reader"),
            button("Cancel", "cancel-measure-reader"),
            cls="eg-running",
        )
        return join(title, running)
    return join(
        title,
        el("p", " ".join(filter(None, (rows.sentence, rows.status)))),
        problem,
        el("details", el("summary", el("b", "Figures")), about(rows.figures), cls="eg-sn")
        if rows.figures
        else None,
        el("p", _WHAT, cls="eg-note"),
        el("div", button("Measure this model as a reader", "measure-reader"), cls="eg-row"),
    )
