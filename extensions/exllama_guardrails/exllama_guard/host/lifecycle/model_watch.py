"""Notices every load and unload of a model, LoRA changes and the Stop button, in each version of the host.

The host has no events: it assigns `model`, `lora_names` and `stop_everything` of `modules.shared`. A module's
class may be replaced by a subclass, whose `__setattr__` sees each assignment; reading stays as fast.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

from exllama_guard.host.guard import guarded

__all__ = ["ModelWatch", "stop_presses"]

_SETTLE_S = 0.2  # the host assigns the tokenizer and the settings right after the model

_presses = 0  # one a process, as `shared` is; a press that two threads count as one is still a change


def stop_presses() -> int:
    """How often Stop was pressed since the watch began; only whether it grew tells something."""
    return _presses


def _count_press() -> None:
    global _presses
    _presses += 1


class ModelWatch:
    """Calls `changed()` on a thread of its own soon after `shared.model` or the LoRAs were assigned.

    `changed` never runs on the assigning thread: an API load runs on the API's event loop. The lock
    protects the timer. Nothing of the model is kept.
    """

    def __init__(self, shared: ModuleType, changed: Callable[[], None], settle_s: float = _SETTLE_S) -> None:
        """Watches nothing yet; `settle_s` is the wait after the last of several assignments."""
        self._shared = shared
        self._changed = changed
        self._settle_s = settle_s
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._before: type[ModuleType] | None = None
        self._ours: type[ModuleType] | None = None

    def install(self) -> None:
        """Starts watching; a second call does nothing."""
        if self._ours is not None:
            return
        base = type(self._shared)
        seen = self._seen

        def set_attribute(module: ModuleType, name: str, value: Any) -> None:  # noqa: ANN401 - as the base
            base.__setattr__(module, name, value)
            if name in ("model", "lora_names"):
                seen()
            elif name == "stop_everything" and value:
                _count_press()

        ours = type("WatchedShared", (base,), {"__setattr__": set_attribute})
        self._before, self._ours = base, ours
        self._shared.__class__ = ours

    def uninstall(self) -> bool:
        """Stops watching; False where someone replaced the class after us, which then stays."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if self._ours is None or self._before is None:
            return True
        top = type(self._shared) is self._ours
        if top:
            self._shared.__class__ = self._before
        self._ours = None
        return top

    @guarded(lambda self: None)
    def _seen(self) -> None:
        if self._ours is None:
            return
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(self._settle_s, self._changed)
            self._timer.daemon = True
            with suppress(RuntimeError):  # the interpreter is ending: no new thread, and nobody to tell
                self._timer.start()
