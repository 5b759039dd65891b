"""HTML from text. `el` is the one place where text becomes markup, and it escapes all of it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

__all__ = ["Child", "Html", "el", "join", "source_link"]

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
