"""Lets a probe write through the host: its chat template, its samplers, its generation lock, one at a time.

`_generate_reply` is called itself while the lock is held, as the warm-up does: no hook and no trace sees it.
"""

from __future__ import annotations

import html
import threading
import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from exllama_guard.errors import BackendError
from exllama_guard.host import webui
from exllama_guard.host.observe import PROBE
from exllama_guard.probes.writer import Sampling, Written

__all__ = ["HostWriter", "users_first"]

_ENTER_S = 0.25  # one try for the lock; between two of them `cancel` is looked at
_AFTER_YOU_S = 0.05  # a lock is not fair: a user's request that waits for it gets this long to take it


def users_first(cancel: threading.Event) -> None:
    """Returns when no reply is being written and waiting requests went first; at once when cancelled."""
    time.sleep(_AFTER_YOU_S)
    lock = getattr(webui.shared_module(), "generation_lock", None)
    while lock is not None and lock.locked() and not cancel.is_set():
        cancel.wait(_AFTER_YOU_S)


class HostWriter:
    """The model that the host has loaded."""

    @property
    def id(self) -> str:
        """The model, its loader and cache as the host names them.

        Raises:
            BackendError: No model is loaded.
        """
        model = webui.model_info()
        if model is None:
            raise BackendError("No model is loaded; load one on the Model page.")
        return "|".join((model.name, model.loader, model.cache_type or "", model.quantisation or "", "host"))

    def write(self, text: str, sampling: Sampling, seed: int, cancel: threading.Event) -> Written:
        """A reply through the host, as a user's message in a new chat would get it."""
        if getattr(webui.shared_module(), "model", None) is None:
            raise BackendError("No model is loaded any more; load one on the Model page.")
        state = _state(sampling, seed)
        prompt = import_module("modules.chat").generate_chat_prompt(text, state, history=state["history"])
        lock = getattr(webui.shared_module(), "generation_lock", None)
        if not _entered(lock, cancel):
            return Written("", 0, 0.0, 0.0, stopped=True)
        try:
            return _generated(prompt, state, cancel)
        finally:
            if lock is not None:
                lock.release()


def _entered(lock: threading.Lock | None, cancel: threading.Event) -> bool:
    while lock is not None and not lock.acquire(timeout=_ENTER_S):
        if cancel.is_set():
            return False
    return True


def _generated(prompt: str, state: dict[str, Any], cancel: threading.Event) -> Written:
    replies = webui.text_generation_module()._generate_reply(prompt, state, None, is_chat=True)
    started_s = time.perf_counter()
    first_s: float | None = None
    text, stopped = "", False
    try:
        for text in replies:
            if text and first_s is None:
                first_s = time.perf_counter() - started_s
            if cancel.is_set():
                stopped = True
                break
    finally:
        replies.close()
    elapsed_s = time.perf_counter() - started_s
    return Written(html.unescape(text), 0, first_s or elapsed_s, elapsed_s, stopped)


def _state(sampling: Sampling, seed: int) -> dict[str, Any]:
    """A state with the host's own defaults, a chat without turns, and the probe's sampling.

    Greedy is top_k 1: a temperature of 0 is not understood by all loaders.
    """
    shared = webui.shared_module()
    state: dict[str, Any] = dict(getattr(shared, "settings", None) or {})
    if find_spec("modules.presets") is not None:  # the embedded default has none
        state.update(import_module("modules.presets").default_preset())
    drawn = not sampling.deterministic
    return state | {
        PROBE: True,
        "mode": "instruct",
        "history": {"internal": [], "visible": [], "metadata": {}},
        "max_new_tokens": sampling.max_tokens,
        "auto_max_new_tokens": False,
        "do_sample": drawn,
        "temperature": sampling.temperature if drawn else 1,
        "top_p": sampling.top_p if drawn else 1,
        "top_k": sampling.top_k if drawn else 1,
        "seed": seed,
        "stream": True,
        "max_tokens_second": 0,
        "enable_thinking": False,
        "custom_stopping_strings": "",
        "custom_token_bans": "",
        "grammar_string": "",
        "tools": None,
    }
