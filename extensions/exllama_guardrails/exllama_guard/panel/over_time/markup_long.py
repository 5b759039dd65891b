"""HTML of a long chat by turn: does it drift, jump, run in circles, lose its topic."""

from __future__ import annotations

from exllama_guard.core.html import Html, el, join
from exllama_guard.panel.html import badge, button, table
from exllama_guard.panel.over_time.rows_long import Cell, LongRows, TurnRow

__all__ = ["long_chat"]

_HEAD = ("Turn", "Question", "ΔS answer", "E_resonance", "λ step", "Repeated", "Topic")
_NOTE = (
    "ΔS answer: from the answer to its snippets; E_resonance is its mean over the last turns. λ step: this "
    "turn’s ΔS against the turn before. Repeated: share of four-word phrases that stood in the "
    "answer before, or the phrase of a loop. Topic: how much farther the end of the answer lies from the "
    "question than its beginning; above 0.10 it is off topic."
)


def long_chat(rows: LongRows) -> Html:
    """The chat of the newest answer; nothing before there is one."""
    if not rows.rows:
        return Html("")
    body = [_line(row) for row in rows.rows]
    return join(
        el("h4", "This chat, by turn"),
        el("p", badge(rows.badge.word, rows.badge.tone), " ", rows.trend, " ", rows.meaning, cls="eg-lead"),
        table(_HEAD, body, cls="eg-stack eg-long", label="This chat, by turn"),
        el("p", _NOTE, cls="eg-note"),
    )


def _line(row: TurnRow) -> Html:
    question = button(row.question or "(no question)", "turn", cls="eg-link eg-ask", data_turn=row.turn_id)
    return el(
        "tr",
        el("td", str(row.place), cls="eg-num", data_label="Turn"),
        el("td", question),
        [
            _cell(cell, name)
            for cell, name in zip(
                (row.distance, row.resonance, row.step, row.repetition, row.topic), _HEAD[2:], strict=True
            )
        ],
    )


def _cell(cell: Cell, name: str) -> Html:
    if cell.why:
        shown = join(el("span", "–", aria_hidden="true"), el("span", cell.why, cls="eg-vh"))
        return el("td", shown, title=cell.why, data_label=name)
    sign = badge(cell.sign, "review") if cell.sign else None
    return el("td", sign, " " if sign else None, cell.text, cls="eg-num", data_label=name)
