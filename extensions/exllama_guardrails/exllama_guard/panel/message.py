"""A page's message, read with care: it comes from a browser and may hold anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from exllama_guard.panel.history.archive import Filter

# key, as pages send it and cards name it → what the tab is called, in their order
TABS = (
    ("turn", "Turn"),
    ("time", "Over time"),
    ("history", "History"),
    ("probes", "Probes"),
    ("doctor", "Doctor"),
    ("check", "Check"),
    ("tools", "Tools"),
    ("model", "Model"),
    ("settings", "Settings"),
)


@dataclass(frozen=True, slots=True)
class Message:
    """What a page has, what it looks at, and what somebody did in it; `tab` is "" while folded."""

    version: int
    same: bool
    tab: str
    turn: str
    claim: str
    filter: Filter
    have: Mapping[str, str]
    action: str = ""
    values: Mapping[str, object] = field(default_factory=dict)


def read_message(text: str) -> Message | None:
    """The message, each field of the wrong type left at its default; None where it is no JSON object."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict):
        return None
    chosen = _mapping(raw.get("filter"))
    page = chosen.get("page")
    values = _mapping(raw.get("do"))
    tab = _text(raw.get("tab"))
    return Message(
        version=raw["v"] if isinstance(raw.get("v"), int) else -1,
        same=raw.get("same") is True,
        tab=tab if tab in dict(TABS) else "",
        turn=_text(raw.get("turn")),
        claim=_text(raw.get("claim")),
        filter=Filter(
            chat=_text(chosen.get("chat")),
            verdict=_text(chosen.get("verdict")),
            model=_text(chosen.get("model")),
            page=page if isinstance(page, int) else 0,
        ),
        have={**_prints(raw.get("have")), **_list_prints(raw.get("lists"))},
        action=_text(values.get("name")),
        values=_mapping(values.get("values")),
    )


def _prints(value: object) -> dict[str, str]:
    return {key: item for key, item in _mapping(value).items() if isinstance(item, str)}


def _list_prints(value: object) -> dict[str, str]:
    """`list/key` to fingerprint, from each list's `key=fingerprint` one after the other."""
    pairs = ((name, item.split("=")) for name, items in _prints(value).items() for item in items.split())
    return {f"{name}/{pair[0]}": pair[1] for name, pair in pairs if len(pair) == 2}


def _mapping(value: object) -> dict[str, object]:
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
