"""The call of the host's `_generate_reply` that a turn is."""

from __future__ import annotations

from dataclasses import dataclass

from exllama_guard.host.turn.reply_call import ReplyCall

__all__ = ["Call"]


@dataclass(frozen=True, slots=True)
class Call(ReplyCall):
    """What the host asked for, and how to ask for another reply like it."""

    is_chat: bool
    for_ui: bool
