"""What goes over the wire: only the pieces of the panel that the page does not have yet."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from exllama_guard.core.html import Html

STREAMED_BYTES = 2048  # of one update while a reply streams
_FRAME_BYTES = 18  # of a list without its id, keys and items


@dataclass(frozen=True, slots=True)
class Slot:
    """A named place of the page and what stands in it; `within` names the list item that holds the place."""

    id: str
    html: Html
    within: str = ""


@dataclass(frozen=True, slots=True)
class SlotList:
    """A named list of the page: keys in order, each with its item's markup."""

    id: str
    items: tuple[tuple[str, Html], ...]


Part: TypeAlias = "Slot | SlotList"


@dataclass(frozen=True, slots=True)
class Page:
    """All that a page shows now; `first` goes before the other parts where not all of it fits."""

    parts: tuple[Part, ...]
    facts: Mapping[str, object] = field(default_factory=dict)
    first: tuple[Part, ...] = ()


@lru_cache(maxsize=4096)
def fingerprint(html: str) -> str:
    """A short hash of a piece of markup, the same in every process."""
    return format(zlib.crc32(html.encode("utf-8", "replace")), "x")


def packet(page: Page, have: Mapping[str, str], most_bytes: int | None = None) -> str:
    """JSON of what differs from `have` (place or `list/key` to fingerprint), with the facts.

    `s` holds [place, fingerprint, markup]; `l` holds [list, how many of its first items stay as they are in
    order, keys after those, [[key, fingerprint, markup], ...]]. Pieces that would make it longer than
    `most_bytes` are left for the next packet, and `more` says so.
    """
    writing = _Writing(page.facts, have, most_bytes)
    for part in (*page.first, *page.parts):
        if isinstance(part, Slot):
            writing.slot(part)
        else:
            writing.items(part)
    return writing.text()


class _Writing:
    """A packet as it grows."""

    def __init__(self, facts: Mapping[str, object], have: Mapping[str, str], most_bytes: int | None) -> None:
        self._facts, self._have, self._most = facts, have, most_bytes
        self._bytes = len(_json(facts).encode()) + len('"more":true,"s":[],"l":[]')
        self._slots: list[str] = []
        self._lists: list[str] = []
        self._sent: set[str] = set()
        self._more = False

    def slot(self, slot: Slot) -> None:
        """Adds a place where it differs; one whose list item is not there yet waits with it."""
        digest = fingerprint(slot.html)
        fresh = slot.within in self._sent
        if self._have.get(slot.id) == digest and not fresh:
            return
        if slot.within and not fresh and slot.within not in self._have:
            self._more = True
            return
        piece = _json([slot.id, digest, slot.html])
        if self._fits(piece):
            self._slots.append(piece)

    def items(self, part: SlotList) -> None:
        """Adds a list's changed items and the order of its keys."""
        start = f"{part.id}/"
        known = [name[len(start) :] for name in self._have if name.startswith(start)]
        held, keys, pieces = set(known), list[str](), list[str]()
        frame = len(part.id) + _FRAME_BYTES
        self._bytes += frame
        for key, html in part.items:
            digest = fingerprint(html)
            in_place = known[len(keys) : len(keys) + 1] == [key]
            named = 0 if in_place else len(key) + 3
            if self._have.get(start + key) == digest:
                self._bytes += named
            elif self._fits(piece := _json([key, digest, html]), named + 1):
                pieces.append(piece)
                self._sent.add(start + key)
            elif key in held:
                self._bytes += named
            else:
                continue
            keys.append(key)
        if pieces or keys != known:
            same = _common(keys, known)
            self._lists.append(f"[{_json(part.id)},{same},{_json(keys[same:])},[{','.join(pieces)}]]")
        else:
            self._bytes -= frame

    def text(self) -> str:
        """The whole packet."""
        facts = {**self._facts, "more": True} if self._more else self._facts
        body = _json(facts)[:-1]
        for name, pieces in (("s", self._slots), ("l", self._lists)):
            if pieces:
                body += f'{"," if len(body) > 1 else ""}"{name}":[{",".join(pieces)}]'
        return body + "}"

    def _fits(self, piece: str, extra: int = 1) -> bool:
        size = len(piece.encode()) + extra
        if self._most is not None and self._bytes + size > self._most:
            self._more = True
            return False
        self._bytes += size
        return True


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _common(one: list[str], other: list[str]) -> int:
    """How many leading keys the two have in common."""
    at = 0
    while at < min(len(one), len(other)) and one[at] == other[at]:
        at += 1
    return at
