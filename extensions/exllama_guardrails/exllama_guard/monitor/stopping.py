"""Parts that end their work when somebody presses Cancel, between two batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from exllama_guard.core.measures import FloatArray
from exllama_guard.core.ports import Embedder, Verifier
from exllama_guard.errors import Stopped
from exllama_guard.monitor.parts import Parts

__all__ = ["batches", "stopping"]

BATCH = 4  # texts between two looks at the button: below a second on a small machine


def batches(
    texts: Sequence[str], embed: Callable[[Sequence[str]], FloatArray], stop: threading.Event
) -> FloatArray:
    """What `embed` gives for all `texts`, asked in batches.

    Raises:
        Stopped: `stop` was set.
    """
    done: list[FloatArray] = []
    for start in range(0, max(1, len(texts)), BATCH):
        _look(stop)
        done.append(embed(texts[start : start + BATCH]))
    return done[0] if len(done) == 1 else np.concatenate(done)


def stopping(parts: Parts, stop: threading.Event) -> Parts:
    """The same parts; whatever they do raises `Stopped` soon after `stop` is set."""
    embedder, verifier = parts.embedder, parts.verifier
    return replace(
        parts,
        embedder=None if embedder is None else _StoppingEmbedder(embedder, stop),
        verifier=None if verifier is None else _StoppingVerifier(verifier, stop),
    )


class _StoppingEmbedder:
    def __init__(self, embedder: Embedder, stop: threading.Event) -> None:
        self._embedder, self._stop = embedder, stop

    @property
    def id(self) -> str:
        return self._embedder.id

    def embed(self, texts: Sequence[str]) -> FloatArray:
        return batches(texts, self._embedder.embed, self._stop)


class _StoppingVerifier:
    def __init__(self, verifier: Verifier, stop: threading.Event) -> None:
        self._verifier, self._stop = verifier, stop

    @property
    def id(self) -> str:
        return self._verifier.id

    def entailment(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        _look(self._stop)
        return self._verifier.entailment(pairs)


def _look(stop: threading.Event) -> None:
    if stop.is_set():
        raise Stopped("Cancelled; nothing was kept.")
