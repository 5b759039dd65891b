"""The call of the host's `_generate_reply` that a turn is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from exllama_guard.host import webui
from exllama_guard.host.turn.reply_call import ReplyCall, Texts

__all__ = ["Call"]


@dataclass(frozen=True, slots=True)
class Call(ReplyCall):
    """What the host asked for, and how to ask for another reply like it."""

    again: Callable[[str, dict[str, Any]], Texts]  # (prompt, state) → another reply
    is_chat: bool
    for_ui: bool
    stop_event: Any = None  # set when an API client leaves; the host takes it out of `state` (4.7.3)

    def interrupted(self) -> bool:
        """Whether Stop was pressed, or the API's client has gone."""
        gone = self.stop_event is not None and bool(self.stop_event.is_set())
        return webui.stopped() or gone
