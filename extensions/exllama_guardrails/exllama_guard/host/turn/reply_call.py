"""What every call of the host's `_generate_reply` has: the host's state, and text as the host gives it."""

from __future__ import annotations

import html
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

__all__ = ["ReplyCall", "Texts"]

Texts = Generator[str, None, None]  # the reply so far, again and again


@dataclass(frozen=True, slots=True)
class ReplyCall:
    """A call of `_generate_reply`; `escaped` where the host escapes the reply's HTML."""

    state: dict[str, Any]
    escaped: bool

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
