"""HTML of a chat. Visible text comes escaped; only a few marks of Markdown are drawn."""

from __future__ import annotations

import re
from typing import Any

_CODE_BLOCK = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_ITEM = re.compile(r"\s*(?:[-*]|\d+[.)])\s+(.*)")
_CITATION = re.compile(r"\[((?:s\d+)(?:,\s*s\d+)*)\]")


def chat_html_wrapper(history: dict[str, Any]) -> str:
    """The whole chat, newest turn last."""
    turns = []
    for asked, answered in history["visible"]:
        if asked:
            turns.append(f'<div class="turn user"><div class="bubble">{_paragraphs(asked)}</div></div>')
        waiting = '<span class="waiting"><i></i><i></i><i></i></span>'
        turns.append(
            f'<div class="turn bot"><div class="bubble">{_markdown(answered) or waiting}</div></div>'
        )
    return f'<div class="chat-scroll"><div class="chat" aria-live="polite">{"".join(turns)}</div></div>'


def _markdown(text: str) -> str:
    parts, at = [], 0
    for block in _CODE_BLOCK.finditer(text):
        parts += [_paragraphs(text[at : block.start()]), f"<pre><code>{block.group(1)}</code></pre>"]
        at = block.end()
    parts.append(_paragraphs(text[at:]))
    return "".join(parts)


def _paragraphs(text: str) -> str:
    return "".join(_paragraph(part) for part in re.split(r"\n\s*\n", text.strip()) if part.strip())


def _paragraph(text: str) -> str:
    out: list[str] = []
    plain: list[str] = []
    for line in text.split("\n"):
        item = _ITEM.fullmatch(line)
        if item is None:
            plain.append(line)
            continue
        if plain:
            out.append(f"<p>{'<br>'.join(plain)}</p>")
            plain = []
        out.append(f"<li>{item.group(1)}</li>")
    if plain:
        out.append(f"<p>{'<br>'.join(plain)}</p>")
    return _inline("".join(out))


def _inline(text: str) -> str:
    text = _CODE.sub(r"<code>\1</code>", text)
    text = _BOLD.sub(r"<b>\1</b>", text)
    return _CITATION.sub(r'<sup class="cite">\1</sup>', text)
