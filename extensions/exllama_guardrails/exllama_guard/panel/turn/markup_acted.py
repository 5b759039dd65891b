"""HTML of what was done with an answer: the tries beside each other, or what stood in its place."""

from __future__ import annotations

from exllama_guard.core.html import Html, el
from exllama_guard.panel.html import badge, button
from exllama_guard.panel.turn.rows_acted import ActedRow, TryRow

__all__ = ["acted"]


def acted(row: ActedRow | None) -> Html:
    """What was done and why; both tries, or what the reader got instead."""
    if row is None:
        return Html("")
    head = el("p", badge(row.badge.word, row.badge.tone), " ", row.why, cls="eg-state")
    original = (
        button("The model’s own answer, marked", "reveal", cls="eg-link", aria_expanded="false")
        if row.refused
        else None
    )
    return el(
        "section",
        head,
        el("blockquote", row.shown, cls="eg-shown") if row.shown else None,
        el("div", [_try(one) for one in row.tries], cls="eg-tries") if row.tries else None,
        original,
        cls="eg-acted",
        aria_label="What was done because of the verdict",
    )


def _try(row: TryRow) -> Html:
    numbers = [
        el("span", el("span", name, cls="eg-label"), el("b", value, cls="eg-num"), cls="eg-stat")
        for name, value in row.numbers
    ]
    return el(
        "div",
        el(
            "div",
            el("b", row.name),
            badge(row.badge.word, row.badge.tone),
            el("span", "kept", cls="eg-kept") if row.kept else None,
            cls="eg-cell-head",
        ),
        el("p", numbers, cls="eg-facts") if numbers else None,
        el("p", row.text, cls="eg-try-text") if row.text else None,
        el("p", row.problem, cls="eg-note") if row.problem else None,
        cls="eg-try" + (" eg-is-kept" if row.kept else ""),
    )
