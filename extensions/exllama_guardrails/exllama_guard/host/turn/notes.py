"""What the hooks learn of a turn before its reply starts, found again by the host's state object."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exllama_guard.core.ports import NOTHING_ASKED, Found

__all__ = ["TurnNote", "TurnNotes"]

_KEPT = 64  # turns between their first hook and their reply; the oldest is dropped first


@dataclass(slots=True)
class TurnNote:
    """Belongs to one turn, whose hooks run one at a time; `state` is held so that its id stays its own."""

    state: Mapping[str, Any]
    history: Mapping[str, Any] | None = None  # the host's working copy, which gets the new attachments
    question: str | None = None  # None: the chat input hook did not run (regenerate, continue, tool turn)
    knowledge: Found = NOTHING_ASKED


class TurnNotes:
    """Notes of the turns that are about to start. Thread-safe: the lock protects both dictionaries."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notes: OrderedDict[int, TurnNote] = OrderedDict()
        self._histories: OrderedDict[int, Mapping[str, Any]] = OrderedDict()

    def saw_history(self, history: Mapping[str, Any]) -> None:
        """Keeps the history for the state hook, which the host calls next on the same thread."""
        with self._lock:
            self._histories[threading.get_ident()] = history
            _trim(self._histories)

    def saw_state(self, state: Mapping[str, Any]) -> None:
        """Starts the note of a turn."""
        with self._lock:
            history = self._histories.pop(threading.get_ident(), None)
            if history is not None and not _same_length(history, state.get("history")):
                history = None
            self._notes[id(state)] = TurnNote(state, history)
            self._notes.move_to_end(id(state))
            _trim(self._notes)

    def of(self, state: Mapping[str, Any]) -> TurnNote:
        """The note of the turn that `state` belongs to; a new one where no hook saw it before."""
        with self._lock:
            note = self._notes.get(id(state))
            if note is None:
                note = self._notes[id(state)] = TurnNote(state)
                _trim(self._notes)
            return note

    def take(self, state: Mapping[str, Any]) -> TurnNote | None:
        """The note of `state`'s turn, removed; None where no hook saw that object."""
        with self._lock:
            return self._notes.pop(id(state), None)


def _trim(kept: OrderedDict[int, Any]) -> None:
    while len(kept) > _KEPT:
        kept.popitem(last=False)


def _same_length(history: Mapping[str, Any], other: object) -> bool:
    rows = other.get("internal") if isinstance(other, Mapping) else None
    return rows is not None and len(history.get("internal") or ()) == len(rows)
