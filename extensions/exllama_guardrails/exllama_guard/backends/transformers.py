"""Adapter for models of the transformers library: everything can be reached, no cache outlives an answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from exllama_guard.backends.adapter import Adapter, card_from_files, required
from exllama_guard.core.backend import Capabilities, Greedy, ModelCard
from exllama_guard.core.records import FloatArray, NotScored

if TYPE_CHECKING:
    import torch

__all__ = ["TransformersBackend", "forced_logprobs", "greedy_ids", "usable_logits"]

_CHUNK_TOKENS = 512  # prompt positions whose logits are held at once


class TransformersBackend(Adapter):
    """A `PreTrainedModel` and its tokenizer."""

    @property
    def capabilities(self) -> Capabilities:
        """All but a cache to look after: transformers builds one for each answer and drops it."""
        return Capabilities(
            loader=self.loaded.loader,
            greedy=True,
            prompt_logprobs=True,
            seed=True,
            sees_bad_logits=True,
            keeps_cache=False,
        )

    def card(self) -> ModelCard:
        """What is loaded, from its files and its configuration."""
        model = self.loaded.alive()
        context = getattr(model.config, "max_position_embeddings", None)
        return card_from_files(
            self.loaded,
            cache_type="fp16" if model.dtype.itemsize == 2 else str(model.dtype).removeprefix("torch."),
            context_tokens=self.loaded.settings.context_tokens or context,
            chat_template=bool(getattr(self.loaded.tokenizer(), "chat_template", None)),
        )

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids without special tokens added."""
        return tuple(self.loaded.alive_tokenizer().encode(text, add_special_tokens=False))

    def greedy(self, prompt: str, n_tokens: int, cancel: threading.Event | None = None) -> Greedy:
        """Token by token with a cache, through the model's own forward pass."""
        ids = required(self.token_ids(prompt), n_tokens)
        return greedy_ids(self.loaded.alive(), self.loaded.alive_tokenizer(), ids, n_tokens, cancel)

    def prompt_logprobs(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """From one forward pass over all of `ids`."""
        import torch

        model = self.loaded.alive()
        with torch.inference_mode():
            tensor = torch.tensor([list(ids)], device=model.device)
            return forced_logprobs(model(input_ids=tensor, use_cache=False).logits, ids)

    def set_seed(self, seed: int) -> None:
        """Seeds torch on every device."""
        import torch

        torch.manual_seed(seed)


def greedy_ids(
    model: Any,  # noqa: ANN401 - a PreTrainedModel, or a class of the host's that behaves like one
    tokenizer: Any,  # noqa: ANN401
    ids: Sequence[int],
    n_tokens: int,
    cancel: threading.Event | None,
) -> Greedy:
    """Greedy continuation of `ids`, stopping at an end token; watches every logit."""
    import torch

    ends = _end_ids(model)
    started_s = time.perf_counter()
    first_s, finite, made = 0.0, True, list[int]()
    cache: object = None
    feed = torch.tensor([list(ids)], device=model.device)
    with torch.inference_mode():
        while len(made) < n_tokens and not (cancel is not None and cancel.is_set()):
            out = model(input_ids=feed, past_key_values=cache, use_cache=True)
            cache, logits = out.past_key_values, out.logits[0, -1]
            finite = finite and usable_logits(logits)
            chosen = int(torch.argmax(logits))
            first_s = first_s or time.perf_counter() - started_s
            if chosen in ends:
                break
            made.append(chosen)
            feed = torch.tensor([[chosen]], device=model.device)
    text = tokenizer.decode(made, skip_special_tokens=True)
    return Greedy(text, tuple(made), first_s, time.perf_counter() - started_s, finite)


def forced_logprobs(logits: torch.Tensor, ids: Sequence[int]) -> FloatArray:
    """Shape (n - 1,) natural log of P(id i | ids before), i = 1 .. n - 1, from logits (1, n, vocabulary)."""
    import torch

    n = len(ids)
    if n < 2:
        return np.zeros(0, dtype=np.float32)
    targets = torch.tensor(list(ids[1:]), device=logits.device)
    parts = []
    for start in range(0, n - 1, _CHUNK_TOKENS):
        end = min(start + _CHUNK_TOKENS, n - 1)
        logs = torch.log_softmax(logits[0, start:end].float(), dim=-1)
        parts.append(logs.gather(1, targets[start:end, None])[:, 0].cpu())
    logprobs: FloatArray = np.minimum(torch.cat(parts).numpy(), np.float32(0))
    return logprobs


def _end_ids(model: Any) -> frozenset[int]:  # noqa: ANN401
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    if configured is None:
        configured = getattr(model.config, "eos_token_id", None)
    return frozenset(configured if isinstance(configured, (list, tuple)) else [configured]) - {None}


def usable_logits(logits: torch.Tensor) -> bool:
    """False with a NaN or +Inf, or where nothing is finite; -Inf alone marks tokens that are ruled out."""
    top = float(logits.max())
    return top == top and abs(top) != float("inf")
