"""HTML of the comparison card: the modes are picked here, the command runs them outside the chat."""

from __future__ import annotations

from collections.abc import Sequence

from exllama_guard.core.html import Html, el, join
from exllama_guard.panel.forms import field, file_row, select, submit
from exllama_guard.panel.html import button
from exllama_guard.panel.probes.rows_compare import CompareRow, Picked

__all__ = ["compare_form", "open_form"]

_ROWS = ("Reference", "Against", "And (optional)")


def compare_form(row: CompareRow) -> Html:
    """The modes to pick, and once picked the exact command."""
    return join(
        el("h4", "Modes: what does a quantisation or a cache type change?"),
        el(
            "p",
            "Each mode must be loaded in turn. That would end everybody’s chat here, so the comparison runs "
            "as a command of its own, in a terminal in the WebUI’s folder; unload the model here first where "
            "memory is short. Its last report is shown below.",
            cls="eg-note",
        ),
        _pick(row) if row.models else el("p", "No models were found in the host’s folder.", cls="eg-note"),
        _command(row.command) if row.command else None,
    )


def _pick(row: CompareRow) -> Html:
    return el(
        "form",
        [_mode(place, name, row) for place, name in enumerate(_ROWS)],
        field(
            "Gold set (a file of JSON lines)",
            el("input", type="text", name="gold", data_kind="str", value=row.gold),
        ),
        el("div", submit("Show the command"), cls="eg-row"),
        data_form="compare",
        cls="eg-form eg-tight",
    )


def _mode(place: int, name: str, row: CompareRow) -> Html:
    picked = row.picked[place] if place < len(row.picked) else Picked("", "")
    precisions = (("", "as its files say"), *((each, each) for each in row.precisions))
    return el(
        "div",
        el("span", name, cls="eg-label"),
        _choice(f"model_{place}", f"{name}: model", (("", "–"), *row.models), picked.model),
        _choice(f"precision_{place}", f"{name}: precision", precisions, picked.precision),
        cls="eg-row eg-pick",
    )


def _choice(name: str, label: str, options: Sequence[tuple[str, str]], value: str) -> Html:
    return select(options, value, name=name, data_kind="str", aria_label=label)


def _command(command: str) -> Html:
    return el(
        "div",
        el("p", el("code", command, data_command=True), cls="eg-command"),
        button("Copy the command", "copy-command"),
    )


def open_form() -> Html:
    """The form that opens a report file."""
    return join(
        el("h4", "Reports"),
        el("p", "Opens the JSON file that a command wrote.", cls="eg-note"),
        el(
            "form",
            file_row("report", "Report file", ".json", "Open"),
            data_form="report",
            cls="eg-form",
        ),
    )
