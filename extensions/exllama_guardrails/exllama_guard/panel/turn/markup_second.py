"""HTML of what the loaded model said of an answer: both verdicts, and each statement that was asked about."""

from __future__ import annotations

from exllama_guard.core.html import Html, el
from exllama_guard.panel.html import badge
from exllama_guard.panel.turn.rows_second import ReadRow, SecondRow

__all__ = ["second"]


def second(row: SecondRow | None) -> Html:
    """Both verdicts, what the model said of each statement, and what that cost."""
    if row is None:
        return Html("")
    return el(
        "section",
        el("p", badge(row.badge.word, row.badge.tone), " ", el("b", row.change), cls="eg-state"),
        el("div", [_statement(one) for one in row.statements], cls="eg-tries"),
        el("p", row.cost, cls="eg-note"),
        cls="eg-acted",
        aria_label="What your model said of this answer",
    )


def _statement(row: ReadRow) -> Html:
    numbers = [
        el("span", el("span", name, cls="eg-label"), el("b", value, cls="eg-num"), cls="eg-stat")
        for name, value in row.numbers
    ]
    return el(
        "div",
        el("div", badge(row.badge.word, row.badge.tone), el("span", row.said), cls="eg-cell-head"),
        el("p", row.text, cls="eg-try-text"),
        el("p", numbers, cls="eg-facts"),
        cls="eg-try",
    )
