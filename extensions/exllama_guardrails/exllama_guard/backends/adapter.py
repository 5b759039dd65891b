"""What the adapters share: the loaded model, and the plain refusal of what a loader does not offer."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from exllama_guard.backends.files import model_hash, quantisation, tokenizer_hash
from exllama_guard.backends.loaded import LoadedModel
from exllama_guard.backends.logits import continued, forced_logprobs, likelihoods
from exllama_guard.core.backend import (
    CacheUsage,
    Capabilities,
    Continuation,
    Greedy,
    ModelCard,
    not_possible,
    shard_hash,
)
from exllama_guard.core.measures import FloatArray, NotScored
from exllama_guard.errors import BackendError

if TYPE_CHECKING:
    import torch

__all__ = ["Adapter", "LogitsAdapter", "behind", "card_from_files", "required"]


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

    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """As `token_ids`, for a loader that puts nothing before a prompt."""
        return self.token_ids(text)

    def next_logprobs(self, ids: Sequence[int], wanted: Sequence[int]) -> FloatArray | NotScored:
        """Not offered."""
        return not_possible(self.loaded.loader, "log-probabilities of the next token")

    def continuation(self, ids: Sequence[int], start: int) -> Continuation | NotScored:
        """From the log-probabilities of the whole, without entropies."""
        logprobs = self.prompt_logprobs(ids)
        return logprobs if isinstance(logprobs, NotScored) else Continuation(logprobs[start - 1 :], None)

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


class LogitsAdapter(Adapter):
    """An adapter whose loader shows a text's logits: all log-probabilities come from one pass over it."""

    @abstractmethod
    def logits(self, ids: Sequence[int]) -> torch.Tensor | NotScored:
        """Shape (1, len(ids), vocabulary), from one pass that leaves the cache as it was."""

    def prompt_logprobs(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """From one pass over all of `ids`."""
        logits = self.logits(ids)
        return logits if isinstance(logits, NotScored) else forced_logprobs(logits, ids)

    def next_logprobs(self, ids: Sequence[int], wanted: Sequence[int]) -> FloatArray | NotScored:
        """From the last place of one pass over `ids`."""
        logits = self.logits(ids)
        return logits if isinstance(logits, NotScored) else likelihoods(logits[0, -1], wanted)

    def continuation(self, ids: Sequence[int], start: int) -> Continuation | NotScored:
        """From one pass over all of `ids`."""
        logits = self.logits(ids)
        return logits if isinstance(logits, NotScored) else continued(logits, ids, start)


def behind(first: int | None, ids: Sequence[int]) -> tuple[int, ...]:
    """`ids` behind the token `first`, which stands there once; as they are for None."""
    if first is None or (ids and ids[0] == first):
        return tuple(ids)
    return (first, *ids)


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
