"""What happens around a loaded model: load and unload, warm-up, canary, cache rotation, drift."""

from __future__ import annotations

from exllama_guard.lifecycle.service import Lifecycle, LifecycleSnapshot

__all__ = ["Lifecycle", "LifecycleSnapshot", "current", "use"]

_current: Lifecycle | None = None


def current() -> Lifecycle | None:
    """The process's one lifecycle, which the host's adapter has put here; None before it has started."""
    return _current


def use(lifecycle: Lifecycle | None) -> None:
    """Makes `lifecycle` the one that the panel and the commands find."""
    global _current  # one a process: the host re-imports script.py, this package stays
    _current = lifecycle
