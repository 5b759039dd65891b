"""What goes over the wire: only the pieces of the panel that the page does not have yet."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from exllama_guard.panel.markup import Html


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


@dataclass(frozen=True, slots=True)
class Page:
    """All that a page shows now."""

    slots: tuple[Slot, ...]
    lists: tuple[SlotList, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)


@lru_cache(maxsize=2048)
def fingerprint(html: str) -> str:
    """A short hash of a piece of markup, the same in every process."""
    return format(zlib.crc32(html.encode("utf-8", "replace")), "x")


def packet(page: Page, have: Mapping[str, str]) -> str:
    """JSON of what differs from `have` (place or `list/key` to fingerprint), with the facts.

    `s` holds [place, fingerprint, markup], `l` [list, keys in order, [[key, fingerprint, markup], ...]].
    """
    sent_items: set[str] = set()
    lists: list[object] = []
    for each in page.lists:
        prints = [(key, fingerprint(html), html) for key, html in each.items]
        new = [item for item in prints if have.get(f"{each.id}/{item[0]}") != item[1]]
        sent_items |= {f"{each.id}/{key}" for key, _, _ in new}
        keys = [key for key, _ in each.items]
        known = [name.partition("/")[2] for name in have if name.startswith(f"{each.id}/")]
        if new or keys != known:
            lists.append([each.id, keys, new])
    slots = []
    for slot in page.slots:
        digest = fingerprint(slot.html)
        if have.get(slot.id) != digest or slot.within in sent_items:
            slots.append([slot.id, digest, slot.html])
    body: dict[str, object] = dict(page.facts)
    if slots:
        body["s"] = slots
    if lists:
        body["l"] = lists
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
