"""Attached files and web search results, as the host writes them under the user's message in the prompt."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exllama_guard.core.snippets import Origin, Snippet, Span, Trust
from exllama_guard.sources.cut import snippets_of
from exllama_guard.sources.history import entries, objects_in
from exllama_guard.sources.voices import NOBODY, Voices, end_around

__all__ = [
    "SIGN",
    "Attachment",
    "Placed",
    "Room",
    "attachment_snippets",
    "from_history",
    "in_prompt",
    "placed_in",
]

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
SIGN = "Contents:\n\n====="  # no text without it can be taken for an attachment


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attached text: `content` as the model saw it; `url` None for a file."""

    name: str
    content: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """An attachment with the place of its content in the prompt; `known` where the host's history has it."""

    attachment: Attachment
    span: Span
    known: bool


def from_history(history: Mapping[str, Any]) -> tuple[Attachment, ...]:
    """The text attachments that the host's history names, in the order of its messages."""
    found: list[Attachment] = []
    for entry in entries(history, "user"):
        for attached in objects_in(entry.get("attachments")):
            content = attached.get("content")
            if attached.get("type") != "image" and isinstance(content, str) and content.strip():
                url = attached.get("url") if attached.get("type") == "text/html" else None
                found.append(
                    Attachment(str(attached.get("name") or "file"), content, str(url) if url else None)
                )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Room:
    """What decides which attachments of a prompt count: those known from the history, those of user's texts.

    What another voice wrote is none, nor what stands inside one of `blocks` (in order, apart).
    """

    known: tuple[Attachment, ...] = ()
    given: frozenset[Attachment] = frozenset()
    voices: Voices = NOBODY
    blocks: tuple[Span, ...] = ()


def in_prompt(prompt: str, known: Iterable[Attachment] = ()) -> tuple[Attachment, ...]:
    """The attachments that stand in `prompt`, in its order.

    `known` (from the history) decides where a content ends that itself holds a line of `=====`; one that
    is not in the prompt, or only in part because the host cut it, is given as far as the prompt has it.
    """
    return tuple(placed.attachment for placed in placed_in(prompt, Room(tuple(known))))


def placed_in(prompt: str, room: Room) -> tuple[Placed, ...]:
    """The attachments in `prompt` that count, with their places, in its order."""
    return tuple(_read(prompt, room))


def attachment_snippets(found: Iterable[Placed], *, first: int = 0) -> tuple[Snippet, ...]:
    """Snippets of attachments and web pages, long ones cut at sentence ends."""
    snippets: list[Snippet] = []
    for placed in found:
        attachment = placed.attachment
        snippets += snippets_of(
            attachment.content,
            section=attachment.name,
            url=attachment.url,
            origin=Origin.WEB_SEARCH if attachment.url else Origin.ATTACHMENT,
            first=first + len(snippets),
            trust=None if placed.known else Trust.MESSAGE,
        )
    return tuple(snippets)


def _read(prompt: str, room: Room) -> Iterator[Placed]:
    at = prompt.find(_MARK)
    ends = [match.span() for match in _END.finditer(prompt, at)] if at >= 0 else []
    while at >= 0 and (header := _HEADER.search(prompt, at)) is not None:
        inside = end_around(room.blocks, header.start())
        if inside is not None:
            at = inside
            continue
        start, name = header.end(), header["name"]
        length, is_whole = _known_length(prompt, start, name, room.known)
        span, after = _content(prompt, start, length, ends)
        attachment = Attachment(name, prompt[span.start : span.end], header["url"])
        foreign = room.voices.end_at(header.start())
        piece = Span(header.start(), span.end)
        counts = is_whole or attachment in room.given or room.voices.admit(piece, attachment.content)
        at = after if counts else max(start, foreign or 0)
        if counts and attachment.content.strip():
            yield Placed(attachment, span, known=bool(length))


def _content(prompt: str, start: int, length: int, ends: Sequence[tuple[int, int]]) -> tuple[Span, int]:
    """The place of the content that starts at `start`, and where to read on.

    `length` is that of a known content, 0 where none is known; `ends` are all places of `_END`, in order.
    """
    if length:
        return Span(start, start + length), start + length
    following = bisect_left(ends, (start, 0))
    if following < len(ends):
        return Span(start, ends[following][0]), ends[following][1]
    end = _ANY_END.search(prompt, start)
    if end is not None:
        return Span(start, end.start()), end.end()
    return Span(start, len(prompt)), len(prompt)


def _known_length(prompt: str, start: int, name: str, known: Iterable[Attachment]) -> tuple[int, bool]:
    """How many characters of a known content of this name stand at `start`, and whether these are all."""
    found = [(_common(prompt, start, one.content), len(one.content)) for one in known if one.name == name]
    length, of = max(found, default=(0, 0))
    return length, bool(length) and length == of


def _common(prompt: str, start: int, content: str) -> int:
    """Number of characters of `content` that stand in `prompt` from `start` on."""
    if prompt.startswith(content, start):
        return len(content)
    pairs = enumerate(zip(content, prompt[start : start + len(content)], strict=False))
    return next((index for index, (ours, theirs) in pairs if ours != theirs), len(prompt) - start)
