"""The way that a probe takes to the model: through the host, or straight to an adapter."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Protocol

from exllama_guard.core.backend import Backend
from exllama_guard.lifecycle.warmup import Run

__all__ = ["BackendPath", "GenerationPath", "Turnstile", "alone"]


class Lock(Protocol):
    """As much of a lock as is needed to give it back."""

    def release(self) -> None:
        """Gives it back."""
        ...


class Turnstile:
    """The host's generation lock while we hold it; `leave` gives it back once, from any thread."""

    def __init__(self, lock: Lock) -> None:
        """Takes over a lock that was acquired."""
        self._lock = lock
        self._own = threading.Lock()  # protects `_held`
        self._held = True

    def leave(self) -> None:
        """Gives the lock back; a second call does nothing."""
        with self._own:
            held, self._held = self._held, False
        if held:
            self._lock.release()


class GenerationPath(Protocol):
    """Generates for us the way a user's request is generated."""

    def enter(self, wait_s: float) -> Turnstile | None:
        """The right to generate alone; None when it was not to be had within `wait_s`."""
        ...

    def run(self, prompt: str, n_tokens: int, cancel: threading.Event) -> Run:
        """A greedy generation, timed from the request to the first text and to the end.

        Raises:
            BackendError: No model is loaded, or it wrote nothing.
        """
        ...

    def waiting(self) -> int:
        """Requests that wait for the right to generate."""
        ...

    def settings(self) -> Mapping[str, object]:
        """What a generation is asked with besides prompt and length; part of a canary's recipe."""
        ...


class BackendPath:
    """Straight to an adapter: the command line, which has no host."""

    def __init__(self, backend: Backend) -> None:
        """Generates with `backend`."""
        self._backend = backend
        self._lock = threading.Lock()

    def enter(self, wait_s: float) -> Turnstile | None:
        """The adapter alone."""
        return Turnstile(self._lock) if self._lock.acquire(timeout=max(0.0, wait_s)) else None

    def run(self, prompt: str, n_tokens: int, cancel: threading.Event) -> Run:
        """The adapter's own greedy generation."""
        made = self._backend.greedy(prompt, n_tokens, cancel)
        tokens = len(made.ids) or self._backend.count_tokens(made.text)
        return Run(made.ttft_s, made.elapsed_s, tokens, made.text)

    def waiting(self) -> int:
        """None: the command line has no users."""
        return 0

    def settings(self) -> Mapping[str, object]:
        """The adapter's way of being greedy, which has no settings."""
        return {"path": "adapter"}


@contextlib.contextmanager
def alone(path: GenerationPath, wait_s: float) -> Iterator[bool]:
    """Whether the path was entered; it is left at the end."""
    turnstile = path.enter(wait_s)
    try:
        yield turnstile is not None
    finally:
        if turnstile is not None:
            turnstile.leave()
