"""HTML from rows. `el` is the one place where text becomes markup, and it escapes all of it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

_VOID = frozenset({"br", "input", "meta", "line", "path", "circle", "rect", "polyline"})
_SAFE_URL = ("http://", "https://")


class Html(str):
    """Text that is markup already; made by `el` and `join` alone."""

    __slots__ = ()


Child: TypeAlias = "Html | str | Iterable[Html] | None"


def el(tag: str, *children: Child, **attributes: str | float | bool | None) -> Html:
    """One element. A child that is not Html is escaped; an attribute of None or False is left out.

    Attributes stand in single quotes, which JSON carries without escapes. `cls` stands for class; other
    underscores become hyphens.
    """
    parts = [f"<{tag}"]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        shown = "class" if name == "cls" else name.replace("_", "-")
        parts.append(f" {shown}" if value is True else f" {shown}='{_attribute(value)}'")
    if tag in _VOID:
        return Html("".join(parts) + "/>")
    return Html("".join(parts) + ">" + join(*children) + f"</{tag}>")


def join(*children: Child) -> Html:
    """The children one after the other, escaped where they are plain text."""
    out: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Html):
            out.append(child)
        elif isinstance(child, str):
            out.append(escape(_printable(child)))
        else:
            out.extend(join(part) for part in child)
    return Html("".join(out))


def _attribute(value: str | float) -> str:
    return escape(_printable(f"{value:g}" if isinstance(value, float) else str(value)), quote=True)


def _printable(text: str) -> str:
    """The text without NUL and lone surrogates, which no page can carry."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def source_link(url: str) -> Html:
    """A link where `url` is a web address, else its text; a scheme such as javascript: is never a link."""
    if url.lower().startswith(_SAFE_URL):
        return el("a", url, href=url, target="_blank", rel="noopener noreferrer", cls="eg-src")
    shown = url if len(url) <= 24 or not url.startswith("sha256:") else url[:19] + "…"
    return el("span", shown, title=url, cls="eg-src")


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
