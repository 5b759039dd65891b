"""A probe's way to the model through the host: its lock, its state, its `_generate_reply`.

A probe calls `_generate_reply` itself while it holds the host's generation lock, so that a user's request,
which waits for that lock, cannot come between two probes of a warm-up (4.7.3 and 3.23).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from exllama_guard.errors import BackendError
from exllama_guard.host import webui
from exllama_guard.host.turn.generation_lock import watched_lock
from exllama_guard.host.turn.observe import PROBE
from exllama_guard.host.turn.own_reply import HOST_RAISES, own_reply
from exllama_guard.lifecycle import Run, Turnstile

__all__ = ["HostPath"]

# The likeliest token each time, whatever a user has set in the page or in settings.yaml: top_k = 1 is greedy
# with every loader, a temperature of 0 is not understood by all of them. A user's add_bos_token would make
# the same model write something else.
_GREEDY: dict[str, Any] = {
    "auto_max_new_tokens": False,
    "do_sample": False,
    "temperature": 1,
    "top_k": 1,
    "repetition_penalty": 1,
    "seed": 0,
    "stream": True,
    "max_tokens_second": 0,
    "custom_stopping_strings": "",
    "custom_token_bans": "",
    "negative_prompt": "",
    "grammar_string": "",
    "ban_eos_token": False,
    "add_bos_token": True,
    "skip_special_tokens": True,
    "static_cache": False,
    "prompt_lookup_num_tokens": 0,
}


class HostPath:
    """Generates through the host."""

    def enter(self, wait_s: float) -> Turnstile | None:
        """The host's generation lock; None when it was not free in time, or the host has none yet."""
        lock = watched_lock(webui.shared_module())
        if lock is None:
            time.sleep(min(wait_s, 0.05))
            return None
        return Turnstile(lock) if lock.acquire(timeout=max(0.0, wait_s)) else None

    def waiting(self) -> int:
        """Requests that wait for the host's lock, once it is watched."""
        return int(getattr(getattr(webui.shared_module(), "generation_lock", None), "waiting", 0))

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within it nobody else gets the host's lock, also where who has it gives it back."""
        lock = watched_lock(webui.shared_module())
        with nullcontext() if lock is None else lock.kept():
            yield

    def run(self, prompt: str, n_tokens: int, cancel: threading.Event) -> Run:
        """A greedy streamed reply, as the host would give it to a user; `tokens` is what was asked for."""
        if getattr(webui.shared_module(), "model", None) is None:
            raise BackendError("no model is loaded any more.")
        try:
            made = own_reply(prompt, self._state(n_tokens), cancel)
        except HOST_RAISES as error:
            raise BackendError(
                f"the host could not generate ({type(error).__name__}: {str(error)[:120]}); "
                "its log says more, and reloading the model helps where its process has ended."
            ) from error
        if made.stopped:
            raise BackendError("it was ended by the Stop button.")
        if made.first_s is None:
            raise BackendError("the model wrote nothing; the host's log says why.")
        return Run(made.first_s, made.elapsed_s, n_tokens, made.text)

    def settings(self) -> dict[str, Any]:
        """The sampling of every probe: the host's own defaults, and ours above them."""
        preset: dict[str, Any] = {}
        if find_spec("modules.presets") is not None:  # the embedded default has none
            preset = import_module("modules.presets").default_preset()
        return {**preset, **_GREEDY}

    def _state(self, n_tokens: int) -> dict[str, Any]:
        """A state for `_generate_reply`: the host's defaults without what a user has changed in them."""
        shared = webui.shared_module()
        state = dict(getattr(shared, "default_settings", None) or getattr(shared, "settings", None) or {})
        current = getattr(shared, "settings", None) or {}
        if "truncation_length" in current:
            state["truncation_length"] = current["truncation_length"]  # the loaded model's context
        state.update(self.settings())
        state.update({PROBE: True, "max_new_tokens": n_tokens})
        return state
