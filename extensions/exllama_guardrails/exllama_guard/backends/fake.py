"""A loaded model that a person can predict, for tests: letters are tokens, the next letter follows a rule."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np

from exllama_guard.core.backend import (
    CacheUsage,
    Capabilities,
    Continuation,
    Greedy,
    ModelCard,
    Quantisation,
    Shards,
    shard_hash,
)
from exllama_guard.core.measures import FloatArray, NotScored
from exllama_guard.errors import BackendError

__all__ = ["FakeBackend"]

_LETTERS = 26


class FakeBackend:
    """Writes the alphabet onwards from the last letter of the prompt, and keeps what it read in a cache."""

    def __init__(
        self,
        *,
        drifts_after_tokens: int | None = None,
        token_s: float = 0.0,
        error: BackendError | None = None,
        capabilities: Capabilities | None = None,
        model_hash: str = "0" * 64,
        max_tokens: int = 4096,
    ) -> None:
        """Greedy output changes once the cache holds `drifts_after_tokens`; each call raises `error`."""
        self.cache: tuple[int, ...] = ()
        self.seen_tokens = 0  # since the last reset
        self.resets = 0
        self.drifts_after_tokens = drifts_after_tokens
        self.token_s = token_s
        self.error = error
        self.model_hash = model_hash
        self.max_tokens = max_tokens
        self._capabilities = capabilities or Capabilities(
            loader="fake",
            greedy=True,
            prompt_logprobs=True,
            next_logprobs=True,
            cache_usage=True,
            cache_reset=True,
            cache_trim=True,
            cache_defragment=True,
            seed=True,
            sees_bad_logits=True,
            reuse_tokens=1,
        )

    @property
    def capabilities(self) -> Capabilities:
        """Everything, unless told otherwise."""
        return self._capabilities

    def card(self) -> ModelCard:
        """A model of 26 letters."""
        self._check()
        shards = Shards(("cpu",))
        return ModelCard(
            name="fake",
            loader=self._capabilities.loader,
            model_hash=self.model_hash,
            tokenizer_hash="1" * 64,
            shard_hash=shard_hash(shards),
            shards=shards,
            quantisation=Quantisation("none", 32.0),
            cache_type="fp16",
            context_tokens=self.max_tokens,
        )

    def token_ids(self, text: str) -> tuple[int, ...]:
        """One token a character."""
        self._check()
        return tuple(ord(letter) % _LETTERS for letter in text)

    def count_tokens(self, text: str) -> int:
        """Number of characters."""
        return len(self.token_ids(text))

    def greedy(self, prompt: str, n_tokens: int, cancel: threading.Event | None = None) -> Greedy:
        """The alphabet onwards; backwards once the cache has drifted."""
        ids = self.token_ids(prompt)
        if n_tokens < 1 or not ids:
            raise BackendError(f"{n_tokens} tokens from {len(ids)}; both must be at least 1.")
        started_s = time.perf_counter()
        drifted = self.drifts_after_tokens is not None and self.seen_tokens >= self.drifts_after_tokens
        made: list[int] = []
        first_s = 0.0
        while len(made) < n_tokens and not (cancel is not None and cancel.is_set()):
            time.sleep(self.token_s)
            last = made[-1] if made else ids[-1]
            made.append((last + (-1 if drifted else 1)) % _LETTERS)
            first_s = first_s or time.perf_counter() - started_s
        self.cache = (*ids, *made)[: self.max_tokens]
        self.seen_tokens += len(ids) + len(made)
        text = "".join(chr(ord("a") + token) for token in made)
        return Greedy(text, tuple(made), first_s, time.perf_counter() - started_s, True)

    def prompt_logprobs(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """Uniform over the letters."""
        self._check()
        return np.full(max(0, len(ids) - 1), -np.log(_LETTERS), dtype=np.float32)

    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """One token a character."""
        return self.token_ids(text)

    def next_logprobs(self, ids: Sequence[int], wanted: Sequence[int]) -> FloatArray | NotScored:
        """Uniform over the letters."""
        self._check()
        return np.full(len(wanted), -np.log(_LETTERS), dtype=np.float32)

    def continuation(self, ids: Sequence[int], start: int) -> Continuation | NotScored:
        """Uniform over the letters."""
        self._check()
        n = max(0, len(ids) - start)
        return Continuation(
            np.full(n, -np.log(_LETTERS), dtype=np.float32), np.full(n, np.log(_LETTERS), dtype=np.float32)
        )

    def cache_usage(self) -> CacheUsage | NotScored:
        """What it read last."""
        self._check()
        return CacheUsage(len(self.cache), self.max_tokens, 0.0)

    def reset_cache(self) -> None:
        """Forgets everything."""
        self._check()
        self.cache, self.seen_tokens = (), 0
        self.resets += 1

    def trim_cache(self, keep_tokens: int) -> None:
        """Forgets the end."""
        self._check()
        self.cache = self.cache[: max(0, keep_tokens)]

    def defragment_cache(self) -> None:
        """Nothing is ever scattered here."""
        self._check()

    def set_seed(self, seed: int) -> None:
        """Nothing is ever drawn here."""
        self._check()

    def _check(self) -> None:
        if self.error is not None:
            raise self.error
