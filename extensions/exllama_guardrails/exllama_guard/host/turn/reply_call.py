"""What every call of the host's `_generate_reply` has: the host's state, text, and how to call it again."""

from __future__ import annotations

import copy
import html
import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from exllama_guard.host import webui

__all__ = ["ReplyCall", "Texts", "repeating"]

Texts = Generator[str, None, None]  # the reply so far, again and again
Repeat = Callable[[str, dict[str, Any]], Texts]  # (prompt, state) → another reply


@dataclass(frozen=True, slots=True)
class ReplyCall:
    """A call of `_generate_reply`; `escaped` where the host escapes the reply's HTML."""

    state: dict[str, Any]
    escaped: bool
    stop_event: Any  # set when an API client leaves, or None; the host takes it out of `state` (4.7.3)
    repeat: Repeat

    @property
    def streamed(self) -> bool:
        """Whether the reader gets the text while it is generated."""
        return bool(self.state.get("stream"))

    def interrupted(self) -> bool:
        """Whether Stop was pressed, or the API's client has gone."""
        gone = self.stop_event is not None and bool(self.stop_event.is_set())
        return webui.stopped() or gone

    def again(self, prompt: str, state: Mapping[str, Any]) -> Texts:
        """Another reply of the same kind, which ends where its client leaves."""
        event = {} if self.stop_event is None else {"stop_event": self.stop_event}
        return self.repeat(prompt, {**state, **event})

    def text(self, given: str) -> str:
        """The model's own text of what the host gave."""
        return html.unescape(given) if self.escaped else given

    def given(self, text: str) -> str:
        """`text` as the host would give it."""
        return html.escape(text) if self.escaped else text


def repeating(original: Callable[..., Texts], bound: inspect.BoundArguments) -> Repeat:
    """Makes another call like `bound`, as a chat's: the hooks of a completion ran on its prompt already."""

    def repeat(prompt: str, state: dict[str, Any]) -> Texts:
        call = inspect.BoundArguments(bound.signature, copy.copy(bound.arguments))
        call.arguments.update(question=prompt, state=state, is_chat=True)
        return original(*call.args, **call.kwargs)

    return repeat
