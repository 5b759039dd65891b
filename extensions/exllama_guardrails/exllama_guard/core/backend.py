"""What a loader's adapter says and does: one narrow protocol, and the values that pass through it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from exllama_guard.core.measures import FloatArray, NotScored, Reason

__all__ = [
    "Backend",
    "CacheUsage",
    "Capabilities",
    "Continuation",
    "Greedy",
    "ModelCard",
    "Quantisation",
    "Shards",
    "not_possible",
    "shard_hash",
]


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How the weights are stored; a part that could not be read is None. `label` as people say it."""

    label: str
    bits: float | None = None  # mean bits per weight
    method: str | None = None  # exl2, exl3, gguf, gptq, bitsandbytes ...


@dataclass(frozen=True, slots=True)
class Shards:
    """How a model is spread over devices, in the order the loader uses them."""

    devices: tuple[str, ...]  # device UUIDs, or "cpu"
    split: str = ""  # the host's gpu_split or tensor_split, as given
    tensor_parallel: bool = False
    backend: str = ""  # of tensor parallelism: native, nccl, row ...

    def in_words(self) -> str:
        """Such as `1 × cpu` or `2 GPUs visible, split 20,24, tensor parallel nccl`; names no device."""
        count = len(self.devices)
        if set(self.devices) == {"cpu"}:
            words = f"{count} × cpu"
        else:
            words = f"{count} GPU{'' if count == 1 else 's'} visible"
            words += ", split left to the loader" if count > 1 and not self.split else ""
        words += f", split {self.split}" if self.split else ""
        return words + (f", tensor parallel {self.backend}".rstrip() if self.tensor_parallel else "")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is loaded. A hash that could not be computed is a NotScored with the reason."""

    name: str
    loader: str
    model_hash: str | NotScored
    tokenizer_hash: str | NotScored
    shard_hash: str
    shards: Shards
    quantisation: Quantisation
    cache_type: str
    context_tokens: int | None
    loras: tuple[str, ...] = ()
    chat_template: bool | None = None  # None: the loader does not tell


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What can be done with a loader; False is shown as a sentence, never worked around silently."""

    loader: str
    greedy: bool = False
    prompt_logprobs: bool = False
    next_logprobs: bool = False
    cache_usage: bool = False
    cache_reset: bool = False
    cache_trim: bool = False
    cache_defragment: bool = False
    seed: bool = False
    sees_bad_logits: bool = False  # NaN and Inf are seen while a reply is written
    keeps_cache: bool = True  # the cache outlives an answer
    parallel: bool = False  # several requests run at once
    reuse_tokens: int | None = None  # a prompt's known beginning is reused in steps of this; None: never
    notes: tuple[str, ...] = field(default=())

    def sentences(self) -> tuple[str, ...]:
        """Plain sentences for the panel: first what can be done, then each thing that cannot."""
        can = [text for name, text in _CAN.items() if getattr(self, name)]
        cannot = [text for name, text in _CAN.items() if not getattr(self, name)]
        sentences = []
        if can:
            sentences.append(f"{self.loader}: {', '.join(can)}.")
        if not self.keeps_cache:
            sentences.append(f"{self.loader} keeps no cache between answers, so there is nothing to rotate.")
        if cannot:
            sentences.append(f"Not possible with {self.loader}: {', '.join(cannot)}.")
        return (*sentences, *self.notes)


_CAN = {
    "greedy": "greedy generation without the host",
    "prompt_logprobs": "log-probabilities of a prompt",
    "next_logprobs": "log-probabilities of the next token",
    "cache_usage": "reading how full the cache is",
    "cache_reset": "resetting the cache",
    "cache_trim": "trimming the cache",
    "cache_defragment": "defragmenting the cache",
    "seed": "setting the seed",
    "sees_bad_logits": "seeing NaN or Inf while a reply is written",
    "parallel": "several requests at once",
}


@dataclass(frozen=True, slots=True)
class Greedy:
    """Result of a greedy generation: what came, and how fast."""

    text: str
    ids: tuple[int, ...]  # empty where the loader gives text only
    ttft_s: float
    elapsed_s: float
    finite: bool | None = None  # whether every logit was a number; None: the loader does not show them


@dataclass(frozen=True, slots=True)
class Continuation:
    """How likely a model finds each token of a text, given all that stands before it.

    `logprobs` has shape (n,), float32, natural logs, each <= 0. `entropies` has the same shape, nats, each
    >= 0: how open the choice of that token was; None where the loader does not tell whole distributions.
    """

    logprobs: FloatArray
    entropies: FloatArray | None


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """Tokens held in the cache. `scattered` is the share of pages that do not follow their predecessor."""

    used_tokens: int
    max_tokens: int | None
    scattered: float | None = None  # [0, 1]; None for a cache without pages


class Backend(Protocol):
    """One loaded model of one loader. Calls that touch the model must not overlap with a generation.

    Every method may raise BackendError: the model is gone, or its server does not answer.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this adapter can do with this loader."""
        ...

    def card(self) -> ModelCard:
        """What is loaded; reads files, takes up to some tenths of a second."""
        ...

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids of `text`, without special tokens added."""
        ...

    def count_tokens(self, text: str) -> int:
        """Number of tokens of `text`, >= 0, without special tokens added."""
        ...

    def greedy(self, prompt: str, n_tokens: int, cancel: threading.Event | None = None) -> Greedy:
        """At most `n_tokens` new tokens, the likeliest each time; fewer where the model or `cancel` ends it.

        Raises:
            BackendError: `n_tokens` < 1, an empty prompt, or the loader cannot do it.
        """
        ...

    def prompt_logprobs(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """Shape (n - 1,) float32, each <= 0: natural log of P(id i | ids before), for i = 1 .. n - 1."""
        ...

    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """Ids of `text` as a whole prompt: behind the model's own first token, once, where it has one."""
        ...

    def next_logprobs(self, ids: Sequence[int], wanted: Sequence[int]) -> FloatArray | NotScored:
        """Shape (len(wanted),) float32, each <= 0: natural log of P(wanted token | ids). Writes nothing.

        A loader that tells its likeliest tokens only gives the least of those for one that is not among them.
        """
        ...

    def continuation(self, ids: Sequence[int], start: int) -> Continuation | NotScored:
        """How likely the model finds ids[start:], of which each is read after all before it; 1 <= start."""
        ...

    def cache_usage(self) -> CacheUsage | NotScored:
        """How full the cache is now."""
        ...

    def reset_cache(self) -> None:
        """Empties the cache; the next prompt is evaluated from its first token.

        Raises:
            BackendError: The loader has no such thing, or jobs are running.
        """
        ...

    def trim_cache(self, keep_tokens: int) -> None:
        """Drops everything after the first `keep_tokens` tokens of the cache.

        Raises:
            BackendError: The loader has no such thing.
        """
        ...

    def defragment_cache(self) -> None:
        """Puts pages that follow each other next to each other.

        Raises:
            BackendError: The loader has no such thing, or jobs are running.
        """
        ...

    def set_seed(self, seed: int) -> None:
        """Seeds the sampler of the next generation.

        Raises:
            BackendError: The loader has no such thing.
        """
        ...


def not_possible(loader: str, what: str) -> NotScored:
    """The value for something that a loader does not offer."""
    return NotScored(Reason.NOT_SUPPORTED, f"{loader} does not offer {what}")


def shard_hash(shards: Shards) -> str:
    """64 hex digits over ordered devices, split, tensor-parallel flag and backend (symptom EX5)."""
    values = [list(shards.devices), shards.split, shards.tensor_parallel, shards.backend]
    return hashlib.sha256(json.dumps(values, separators=(",", ":")).encode()).hexdigest()
