"""Attached files and web search results, as the host writes them under the user's message in the prompt."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exllama_guard.core.snippets import Origin, Snippet
from exllama_guard.sources.cut import snippets_of

__all__ = ["Attachment", "from_history", "in_prompt", "attachment_snippets"]

# The same in WebUI 3.23 and 4.7.3 (modules/chat.py). A template may trim the blank lines at the end.
_HEADER = re.compile(
    r"^Name: (?P<name>[^\n]*)\n(?:URL: (?P<url>[^\n]*)\n)?Contents:\n\n=====\n", re.MULTILINE
)
# Without a history to compare with: before the next attachment or the end of the message.
_END = re.compile(
    r"\n=====(?=\n\n\nName: [^\n]*\n(?:URL:|Contents:)|\s*(?:<\||</s>|<end_of_turn|\[/INST|\Z))"
)
_ANY_END = re.compile(r"\n=====(?=\n)")
_MARK = "ATTACHMENTS:\n"


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attached text: `content` as the model saw it; `url` None for a file."""

    name: str
    content: str
    url: str | None = None


def from_history(history: Mapping[str, Any]) -> tuple[Attachment, ...]:
    """The text attachments that the host's history names, in the order of its messages."""
    metadata = history.get("metadata") or {}
    found: list[Attachment] = []
    for key, entry in metadata.items():
        if not str(key).startswith("user_") or not isinstance(entry, Mapping):
            continue
        for attached in entry.get("attachments") or ():
            content = attached.get("content")
            if attached.get("type") != "image" and isinstance(content, str) and content.strip():
                url = attached.get("url") if attached.get("type") == "text/html" else None
                found.append(Attachment(str(attached.get("name") or "file"), content, url or None))
    return tuple(found)


def in_prompt(prompt: str, known: Iterable[Attachment] = ()) -> tuple[Attachment, ...]:
    """The attachments that stand in `prompt`, in its order.

    `known` (from the history) decides where a content ends that itself holds a line of `=====`; one that
    is not in the prompt, or only in part because the host cut it, is given as far as the prompt has it.
    """
    return tuple(_read(prompt, tuple(known)))


def attachment_snippets(prompt: str, history: Mapping[str, Any], *, first: int = 0) -> tuple[Snippet, ...]:
    """Snippets of every attachment and web page in `prompt`, long ones cut at sentence ends."""
    found: list[Snippet] = []
    for attachment in in_prompt(prompt, from_history(history)):
        found += snippets_of(
            attachment.content,
            section=attachment.name,
            url=attachment.url,
            origin=Origin.WEB_SEARCH if attachment.url else Origin.ATTACHMENT,
            first=first + len(found),
        )
    return tuple(found)


def _read(prompt: str, known: tuple[Attachment, ...]) -> Iterator[Attachment]:
    at = prompt.find(_MARK)
    ends = [match.span() for match in _END.finditer(prompt, at)] if at >= 0 else []
    while at >= 0 and (header := _HEADER.search(prompt, at)) is not None:
        start = header.end()
        content, at = _content(prompt, start, header["name"], known, ends)
        if content.strip():
            yield Attachment(header["name"], content, header["url"])


def _content(
    prompt: str, start: int, name: str, known: Iterable[Attachment], ends: Sequence[tuple[int, int]]
) -> tuple[str, int]:
    """The content that starts at `start`, and where it ends; `ends` are all places of `_END`, in order."""
    for attachment in known:
        if attachment.name == name:
            length = _common(prompt, start, attachment.content)
            if length:
                return attachment.content[:length], start + length
    following = bisect_left(ends, (start, 0))
    if following < len(ends):
        return prompt[start : ends[following][0]], ends[following][1]
    end = _ANY_END.search(prompt, start)
    if end is not None:
        return prompt[start : end.start()], end.end()
    return prompt[start:], len(prompt)


def _common(prompt: str, start: int, content: str) -> int:
    """Number of characters of `content` that stand in `prompt` from `start` on."""
    if prompt.startswith(content, start):
        return len(content)
    pairs = enumerate(zip(content, prompt[start : start + len(content)], strict=False))
    return next((index for index, (ours, theirs) in pairs if ours != theirs), len(prompt) - start)
