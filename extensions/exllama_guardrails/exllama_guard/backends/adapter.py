"""What the adapters share: the loaded model, and the plain refusal of what a loader does not offer."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence

from exllama_guard.backends.files import model_hash, quantisation, tokenizer_hash
from exllama_guard.backends.loaded import LoadedModel
from exllama_guard.core.backend import (
    CacheUsage,
    Capabilities,
    Greedy,
    ModelCard,
    not_possible,
    shard_hash,
)
from exllama_guard.core.measures import FloatArray, NotScored
from exllama_guard.errors import BackendError

__all__ = ["Adapter", "card_from_files", "required"]


class Adapter(ABC):
    """Base of the adapters; each overrides what its loader can do and says so in `capabilities`."""

    def __init__(self, loaded: LoadedModel) -> None:
        """Holds weak references only."""
        self.loaded = loaded

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this adapter can do with this loader."""

    @abstractmethod
    def card(self) -> ModelCard:
        """What is loaded."""

    @abstractmethod
    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids of `text`, without special tokens added."""

    def count_tokens(self, text: str) -> int:
        """Number of tokens of `text`, without special tokens added."""
        return len(self.token_ids(text))

    def greedy(self, prompt: str, n_tokens: int, cancel: threading.Event | None = None) -> Greedy:
        """Refuses."""
        raise self._refusal("greedy generation without the host")

    def prompt_logprobs(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """Not offered."""
        return not_possible(self.loaded.loader, "log-probabilities of a prompt")

    def cache_usage(self) -> CacheUsage | NotScored:
        """Not offered."""
        return not_possible(self.loaded.loader, "reading how full the cache is")

    def reset_cache(self) -> None:
        """Refuses."""
        raise self._refusal("resetting the cache")

    def trim_cache(self, keep_tokens: int) -> None:
        """Refuses."""
        raise self._refusal("trimming the cache")

    def defragment_cache(self) -> None:
        """Refuses."""
        raise self._refusal("defragmenting the cache")

    def set_seed(self, seed: int) -> None:
        """Refuses."""
        raise self._refusal("setting the seed outside a request")

    def _refusal(self, what: str) -> BackendError:
        return BackendError(f"{self.loaded.loader} does not offer {what}; the panel lists what it offers.")


def required(ids: tuple[int, ...], n_tokens: int) -> tuple[int, ...]:
    """`ids`, when something can be generated from them.

    Raises:
        BackendError: There are none, or `n_tokens` < 1.
    """
    if n_tokens < 1:
        raise BackendError(f"{n_tokens} tokens were asked for; ask for at least 1.")
    if not ids:
        raise BackendError("The prompt has no tokens; give it at least one word.")
    return ids


def card_from_files(
    loaded: LoadedModel,
    *,
    cache_type: str,
    context_tokens: int | None,
    chat_template: bool | None = None,
) -> ModelCard:
    """A card whose hashes and quantisation come from the model's files."""
    shards = loaded.shards()
    return ModelCard(
        name=loaded.name,
        loader=loaded.loader,
        model_hash=model_hash(loaded.path),
        tokenizer_hash=tokenizer_hash(loaded.path),
        shard_hash=shard_hash(shards),
        shards=shards,
        quantisation=quantisation(loaded.path),
        cache_type=cache_type,
        context_tokens=context_tokens,
        loras=loaded.settings.loras,
        chat_template=chat_template,
    )
