"""The call of the host's `_generate_reply` that a turn is."""

from __future__ import annotations

import html
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from exllama_guard.host import webui

__all__ = ["Call", "Texts"]

Texts = Generator[str, None, None]  # the reply so far, again and again


@dataclass(frozen=True, slots=True)
class Call:
    """What the host asked for, and how to ask for another reply like it."""

    again: Callable[[str, dict[str, Any]], Texts]  # (prompt, state) → another reply
    state: dict[str, Any]
    is_chat: bool
    for_ui: bool
    escaped: bool
    stop_event: Any = None  # set when an API client leaves; the host takes it out of `state` (4.7.3)

    @property
    def streamed(self) -> bool:
        """Whether the reader gets the text while it is generated."""
        return bool(self.state.get("stream"))

    def text(self, given: str) -> str:
        """The model's own text of what the host gave."""
        return html.unescape(given) if self.escaped else given

    def given(self, text: str) -> str:
        """`text` as the host would give it."""
        return html.escape(text) if self.escaped else text

    def interrupted(self) -> bool:
        """Whether Stop was pressed, or the API's client has gone."""
        gone = self.stop_event is not None and bool(self.stop_event.is_set())
        return webui.stopped() or gone
