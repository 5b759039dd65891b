"""HTML of what forms are made of: named fields, choices, a file to pick, the button that sends."""

from __future__ import annotations

from collections.abc import Iterable

from exllama_guard.core.html import Child, Html, el

__all__ = ["GOLD_FILES", "field", "file_row", "select", "submit"]

GOLD_FILES = ".jsonl,.json,.txt"


def field(name: str, control: Html, hint: str = "") -> Html:
    """A control with its name above it, and a hint between the two."""
    return el(
        "label",
        el("span", name, cls="eg-field-name"),
        el("span", hint, cls="eg-note") if hint else None,
        control,
        cls="eg-field",
    )


def select(options: Iterable[tuple[str, str]], value: str, **attributes: str | float | bool | None) -> Html:
    """One of several (key, shown); `value` is the key that is chosen."""
    items = [el("option", shown, value=key, selected=key == value) for key, shown in options]
    return el("select", items, **attributes)


def submit(text: str, *, primary: bool = False) -> Html:
    """The button that sends the form around it."""
    return el("button", text, type="submit", cls="eg-btn eg-primary" if primary else "eg-btn")


def file_row(name: str, label: str, accept: str, send: str, *more: Child) -> Html:
    """A file to pick and the button that sends it, in one line."""
    picked = el("input", type="file", name=name, accept=accept, aria_label=label)
    return el("div", picked, submit(send), *more, cls="eg-row")
