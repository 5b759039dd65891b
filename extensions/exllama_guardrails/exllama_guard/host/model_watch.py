"""Notices every load and unload of a model, by the page and the API, in each version of the host.

The host has no event for it: it assigns `modules.shared.model`. A module's class may be replaced by a
subclass, whose `__setattr__` sees each assignment; reading stays as fast as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

__all__ = ["ModelWatch"]

_SETTLE_S = 0.2  # the host assigns the tokenizer and the settings right after the model


class ModelWatch:
    """Calls `changed()` on a thread of its own soon after `shared.model` was assigned.

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
            if name == "model":
                seen()

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
