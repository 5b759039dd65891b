"""What the panel's markup is made of: signs, badges, buttons, tables, empty states."""

from __future__ import annotations

from collections.abc import Iterable

from exllama_guard.core.html import Child, Html, el


def icon() -> Html:
    """The sign of the tone around it (tick, exclamation mark, cross, dash), hidden from screen readers."""
    return el("i", cls="eg-i", aria_hidden="true")


def badge(word: str, tone: str) -> Html:
    """A verdict: icon, word and colour."""
    return el("span", icon(), word, cls=f"eg-badge eg-{tone}")


def button(text: Child, action: str, *, cls: str = "eg-btn", **attributes: str | float | bool | None) -> Html:
    """A button; `action` names what the script does with it."""
    return el("button", text, type="button", cls=cls, data_act=action, **attributes)


def table(columns: Iterable[str], rows: Child, *, cls: str | None = None, label: str | None = None) -> Html:
    """Rows under the names of their columns, in a frame that scrolls; with a `label` by the keys too."""
    head = el("thead", el("tr", [el("th", name, scope="col") for name in columns]))
    region = {"tabindex": "0", "role": "region", "aria_label": label} if label else {}
    return el("div", el("table", head, el("tbody", rows), cls=cls), cls="eg-table", **region)


def empty(title: str, what_to_do: str) -> Html:
    """An empty state: what is missing, and what to do."""
    return el("div", el("p", title, cls="eg-empty-title"), el("p", what_to_do), cls="eg-empty")
