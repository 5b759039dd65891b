"""Lets a probe write through the host: its chat template, its samplers, its generation lock, one at a time.

`_generate_reply` is called itself while the lock is held, as the warm-up does: no hook and no trace sees it.
"""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from exllama_guard.backends import model_hash
from exllama_guard.errors import BackendError
from exllama_guard.host import webui
from exllama_guard.host.lifecycle.hooks import loaded_model
from exllama_guard.host.lifecycle.path import HostPath
from exllama_guard.host.turn.observe import PROBE
from exllama_guard.host.turn.own_reply import HOST_RAISES, own_reply
from exllama_guard.lifecycle import Lifecycle, Turnstile
from exllama_guard.probes import Generation, Sampling

__all__ = ["HostGenerator", "probe_state", "users_first"]

_ENTER_S = 0.25  # one try for the lock; between two of them `cancel` is looked at
_TRIES = 5
_AFTER_YOU_S = 0.05  # a lock is not fair: a user's request that waits for it gets this long to take it


def users_first(cancel: threading.Event) -> None:
    """Returns when no reply is being written and waiting requests went first; at once when cancelled."""
    time.sleep(_AFTER_YOU_S)
    lock = getattr(webui.shared_module(), "generation_lock", None)
    while lock is not None and lock.locked() and not cancel.is_set():
        cancel.wait(_AFTER_YOU_S)


class HostGenerator:
    """The model that the host has loaded."""

    def __init__(self, lifecycle: Callable[[], Lifecycle | None] = lambda: None) -> None:
        """Takes the hash of the model's files from `lifecycle`, where it has read them already."""
        self._lifecycle = lifecycle

    @property
    def id(self) -> str:
        """The model, its files' hash, its loader and cache as the host names them.

        Raises:
            BackendError: No model is loaded.
        """
        model, loaded = webui.model_info(), loaded_model()
        if model is None or loaded is None:
            raise BackendError("No model is loaded; load one on the Model page.")
        hash_ = self._hash_of(loaded.path, model.name, model.loader)
        named = (model.name, hash_, model.loader, model.cache_type or "", model.quantisation or "", "host")
        return "|".join(named)

    def write(self, text: str, sampling: Sampling, seed: int, cancel: threading.Event) -> Generation:
        """A reply through the host, as a user's message in a new chat would get it.

        A user's Stop ends whatever the host generates, so a probe's reply that it hit is written again.
        """
        if getattr(webui.shared_module(), "model", None) is None:
            raise BackendError("No model is loaded any more; load one on the Model page.")
        state = probe_state(sampling, seed)
        prompt = import_module("modules.chat").generate_chat_prompt(text, state, history=state["history"])
        for number in range(_TRIES):
            if number:
                users_first(cancel)
            turnstile = _entered(cancel)
            if turnstile is None:
                return Generation("", 0, 0.0, 0.0, stopped=True)
            try:
                written, hit = _generated(prompt, state, cancel)
            finally:
                turnstile.leave()
            if not hit:
                return written
        raise BackendError(f"The Stop button ended it {_TRIES} times; start it again when no one chats.")

    def _hash_of(self, path: Path | None, name: str, loader: str) -> str:
        """The model's hash as the warm-up has read it, else from its files; "" where they have none."""
        follower = self._lifecycle()
        card = follower.snapshot().card if follower is not None else None
        known = card.model_hash if card is not None and (card.name, card.loader) == (name, loader) else None
        hash_ = known if isinstance(known, str) else model_hash(path)
        return hash_ if isinstance(hash_, str) else ""


def _entered(cancel: threading.Event) -> Turnstile | None:
    while not cancel.is_set():
        turnstile = HostPath().enter(_ENTER_S)
        if turnstile is not None:
            return turnstile
    return None


def _generated(prompt: str, state: dict[str, Any], cancel: threading.Event) -> tuple[Generation, bool]:
    """The reply, and whether somebody's Stop hit it."""
    try:
        made = own_reply(prompt, state, cancel)
    except HOST_RAISES as error:
        raise BackendError(
            f"The host could not generate ({type(error).__name__}: {str(error)[:120]}); its log says more."
        ) from error
    first_s = made.first_s or made.elapsed_s
    written = Generation(html.unescape(made.text), 0, first_s, made.elapsed_s, made.cancelled)
    return written, made.stopped and not made.cancelled


def probe_state(sampling: Sampling, seed: int) -> dict[str, Any]:
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
