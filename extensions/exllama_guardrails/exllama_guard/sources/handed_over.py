"""Snippets that another extension hands over by a call, kept until that reader's next turn."""

from __future__ import annotations

import math
import numbers
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from exllama_guard.core.snippets import Offsets, Origin, Snippet, make_snippet
from exllama_guard.errors import UserError

__all__ = ["Inbox", "snippets_from"]

_KEPT = 256  # waiting hand-overs; the oldest is dropped first

_FIELDS = frozenset(
    {"text", "snippet_id", "section_id", "source_url", "offsets", "score", "index_hash", "analyzer"}
)


class Inbox:
    """Waiting snippets by address (a chat, a reader). Thread-safe: the lock protects the dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, tuple[Snippet, ...]] = OrderedDict()

    def put(self, address: str, snippets: Sequence[Snippet]) -> None:
        """Adds snippets for the next turn of `address`."""
        with self._lock:
            self._waiting[address] = self._waiting.pop(address, ()) + tuple(snippets)
            while len(self._waiting) > _KEPT:
                self._waiting.popitem(last=False)

    def take(self, addresses: Iterable[str]) -> tuple[Snippet, ...]:
        """The snippets that wait for any of `addresses`, in that order; they are handed out once."""
        if not self._waiting:
            return ()
        with self._lock:
            return tuple(snippet for address in addresses for snippet in self._waiting.pop(address, ()))


def snippets_from(given: Iterable[str | Mapping[str, Any]]) -> tuple[Snippet, ...]:
    """Snippets of strings, or of objects with `text` and any of the contract's fields.

    Raises:
        UserError: An entry is neither, has no text, an unknown field or offsets that are not numbers.
    """
    if isinstance(given, (str, Mapping)):
        given = (given,)
    return tuple(_snippet(position, entry) for position, entry in enumerate(given))


def _snippet(position: int, entry: str | Mapping[str, Any]) -> Snippet:
    fields: Mapping[str, Any] = {"text": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, Mapping) or not isinstance(fields.get("text"), str):
        raise UserError(
            f"Snippet {position + 1} is {type(entry).__name__}; hand over a string, "
            "or a dictionary whose 'text' is a string."
        )
    unknown = sorted(str(name) for name in fields if name not in _FIELDS)
    if unknown:
        raise UserError(
            f"Snippet {position + 1} has {', '.join(unknown)}; the fields are {', '.join(sorted(_FIELDS))}."
        )
    return make_snippet(
        fields["text"],
        position=position,
        snippet_id=_word(fields, "snippet_id"),
        section_id=_word(fields, "section_id"),
        source_url=_word(fields, "source_url"),
        offsets=_offsets(position, fields.get("offsets")),
        origin=Origin.HANDED_OVER,
        score=_score(position, fields.get("score")),
        index_hash=_word(fields, "index_hash"),
        analyzer=_word(fields, "analyzer"),
    )


def _word(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return None if value is None else str(value)


def _score(position: int, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise UserError(f"Snippet {position + 1} has the score {value!r}; give a finite number, or none.")


def _offsets(position: int, value: object) -> Offsets | None:
    if value is None:
        return None
    start, end = (value.get("start"), value.get("end")) if isinstance(value, Mapping) else (None, None)
    if isinstance(value, Mapping) and isinstance(start, int) and isinstance(end, int):
        return Offsets(start, end, str(value.get("unit", "char")))
    raise UserError(f"Snippet {position + 1} has offsets {value!r}; give {{'start': 0, 'end': 120}}.")
