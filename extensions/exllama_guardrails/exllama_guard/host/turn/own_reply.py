"""A reply that the host writes for the extension itself: timed, and ended by us or by a user's Stop."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from exllama_guard.host import webui
from exllama_guard.host.lifecycle.model_watch import stop_presses

__all__ = ["HOST_RAISES", "OwnReply", "own_reply"]

# What comes out of the host's loaders when a model goes away under a generation, or breaks: a server that was
# killed (requests' errors are OSErrors), CUDA's RuntimeErrors, `shared.model` that became None.
HOST_RAISES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class OwnReply:
    """The text as far as it came, and what ended it."""

    text: str
    first_s: float | None  # time to first token; None where nothing was written
    elapsed_s: float
    cancelled: bool  # by us
    stopped: bool  # the Stop button was pressed meanwhile


def own_reply(prompt: str, state: dict[str, Any], cancel: threading.Event) -> OwnReply:
    """A reply of the model that the host has loaded; the caller holds the host's generation lock.

    Raises:
        HOST_RAISES: The host could not generate.
    """
    replies = webui.text_generation_module()._generate_reply(prompt, state, None, is_chat=True)
    presses, started_s = stop_presses(), time.perf_counter()
    first_s: float | None = None
    text, cancelled = "", False
    try:
        for text in replies:
            if text and first_s is None:
                first_s = time.perf_counter() - started_s
            if cancel.is_set():
                cancelled = True
                break
    finally:
        replies.close()
    elapsed_s = time.perf_counter() - started_s
    return OwnReply(text, first_s, elapsed_s, cancelled, webui.stopped() or stop_presses() != presses)
