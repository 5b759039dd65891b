"""Lines that wait for the output hook, which on the page returns what is shown and never the prompt."""

from __future__ import annotations

import html
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from exllama_guard.acting import without_annotation

__all__ = ["VisibleLines", "strip_sent_lines"]

_KEPT = 64  # turns between their end and their output hook; the oldest is dropped first


class VisibleLines:
    """A line by the host's state object, held so that its id stays its own. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects the dictionary: turns end on different threads
        self._lines: OrderedDict[int, tuple[Mapping[str, Any], str]] = OrderedDict()

    def keep(self, state: Mapping[str, Any], line: str) -> None:
        """Keeps the line for the turn of `state`."""
        with self._lock:
            self._lines[id(state)] = (state, line)
            while len(self._lines) > _KEPT:
                self._lines.popitem(last=False)

    def drop(self, state: Mapping[str, Any]) -> None:
        """Forgets what an earlier reply of the same state left."""
        with self._lock:
            self._lines.pop(id(state), None)

    def shown(self, text: str, state: Mapping[str, Any]) -> str:
        """The visible text (HTML-escaped by the host) with this turn's line, and without an older one."""
        with self._lock:
            kept = self._lines.pop(id(state), None)
        text = without_annotation(text)
        return text + html.escape(kept[1]) if kept is not None and kept[0] is state else text


def strip_sent_lines(history: dict[str, Any]) -> None:
    """Takes our lines out of the answers in the host's working copy: API clients send them back."""
    for row in history.get("internal") or ():
        if isinstance(row, list) and len(row) > 1 and isinstance(row[1], str):
            row[1] = without_annotation(row[1])
    for message in history.get("messages") or ():
        if isinstance(message, dict) and message.get("role") == "assistant":
            content = message.get("content")
            if isinstance(content, str):
                message["content"] = without_annotation(content)
