"""A scripted writer and a scripted mode, for tests of probes without a model."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from exllama_guard.core.records import FloatArray, NotScored
from exllama_guard.errors import BackendError
from exllama_guard.probes.writer import Sampling, Written

VOCABULARY = 32


class ScriptedMode:
    """Writes what `script(text, seed)` says; its distributions are those of a seeded table plus noise."""

    def __init__(
        self,
        script: Callable[[str, int], str],
        name: str = "scripted",
        noise: float = 0.0,
        fails_after: int | None = None,
        token_s: float = 0.01,
        tokenizer: str | NotScored = "1" * 64,
    ) -> None:
        self.script, self.name, self.noise = script, name, noise
        self.fails_after, self.token_s, self.tokenizer = fails_after, token_s, tokenizer
        self.calls: list[tuple[str, int]] = []
        self.closed = False
        self.timed = True

    @property
    def id(self) -> str:
        return self.name

    @property
    def tokenizer_hash(self) -> str | NotScored:
        return self.tokenizer

    def write(self, text: str, sampling: Sampling, seed: int, cancel: threading.Event) -> Written:
        if self.fails_after is not None and len(self.calls) >= self.fails_after:
            raise BackendError(f"{self.name} was unloaded; load a model on the Model page.")
        self.calls.append((text, seed))
        answer = self.script(text, seed)
        tokens = len(answer.split())
        return Written(answer, tokens, self.token_s, self.token_s * tokens, cancel.is_set())

    def token_ids(self, text: str) -> tuple[int, ...]:
        return tuple(zlib.crc32(word.encode()) % VOCABULARY for word in text.split())

    def distributions(self, ids: Sequence[int]) -> FloatArray:
        draw = np.random.default_rng(7)
        logits = draw.normal(0, 2, (len(ids) - 1, VOCABULARY))
        if self.noise:
            logits += np.random.default_rng(zlib.crc32(self.name.encode())).normal(
                0, self.noise, logits.shape
            )
        return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)

    def close(self) -> None:
        self.closed = True
