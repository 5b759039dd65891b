"""The host's history read piece by piece: an entry of another form than the host's is passed over alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

__all__ = ["entries", "messages_of", "objects_in", "rows_of", "strings_in", "tool_sequences"]

Object = Mapping[str, Any]


def rows_of(history: Object) -> Iterator[Sequence[Any]]:
    """The rows: [user's text, model's text, (API) a tool's result, (API) more]."""
    rows = history.get("internal")
    for row in rows if isinstance(rows, (list, tuple)) else ():
        if isinstance(row, (list, tuple)):
            yield row


def messages_of(history: Object) -> Iterator[Object]:
    """The messages as the API got them; none from the page."""
    return objects_in(history.get("messages"))


def entries(history: Object, kind: str) -> Iterator[Object]:
    """What the host's metadata says of each message of a kind, "user" or "assistant", in their order."""
    metadata = history.get("metadata")
    for key, entry in metadata.items() if isinstance(metadata, Mapping) else ():
        if str(key).startswith(f"{kind}_") and isinstance(entry, Mapping):
            yield entry


def tool_sequences(history: Object) -> Iterator[tuple[Object, ...]]:
    """The calls and results before each answer of the page."""
    for entry in entries(history, "assistant"):
        yield tuple(objects_in(entry.get("tool_sequence")))


def objects_in(given: object) -> Iterator[Object]:
    """The objects of a list; none where it is no list."""
    for item in given if isinstance(given, (list, tuple)) else ():
        if isinstance(item, Mapping):
            yield item


def strings_in(given: object) -> Iterator[str]:
    """Each string of a value made of lists and objects; where it is JSON as one string, of that too."""
    waiting = [given]
    if isinstance(given, str):
        with suppress(ValueError, RecursionError):
            waiting.append(json.loads(given))
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, (list, tuple)):
            waiting += value
