"""What the adapters that reach a model's logits share: a greedy loop, log-probabilities, a look for NaN."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from exllama_guard.core.backend import Continuation, Greedy
from exllama_guard.core.measures import FloatArray

if TYPE_CHECKING:
    import torch

__all__ = ["continued", "forced_logprobs", "likelihoods", "usable_logits", "write_greedily"]

_CHUNK_TOKENS = 512  # prompt positions whose logits are held at once


def write_greedily(
    step: Callable[[Sequence[int]], torch.Tensor],
    ids: Sequence[int],
    n_tokens: int,
    ends: Collection[int | None],
    decode: Callable[[list[int]], str],
    cancel: threading.Event | None,
) -> Greedy:
    """At most `n_tokens` likeliest tokens after `ids`; ends at a token of `ends` or when `cancel` is set.

    `step` gets all of `ids` first and each chosen token afterwards; it gives the next token's logits, shape
    (vocabulary,).
    """
    made, finite, first_s = list[int](), True, 0.0
    feed: Sequence[int] = ids
    started_s = time.perf_counter()
    while len(made) < n_tokens and not (cancel is not None and cancel.is_set()):
        logits = step(feed).float()
        finite = finite and usable_logits(logits)
        chosen = int(logits.argmax())
        first_s = first_s or time.perf_counter() - started_s
        if chosen in ends:
            break
        made.append(chosen)
        feed = (chosen,)
    text = decode(made) if made else ""
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


def likelihoods(logits: torch.Tensor, wanted: Sequence[int]) -> FloatArray:
    """Shape (len(wanted),) natural log of P(token) for each, from the logits of one place, (vocabulary,)."""
    import torch

    logs = torch.log_softmax(logits.float(), dim=-1)[list(wanted)].cpu()
    logprobs: FloatArray = np.minimum(logs.numpy(), np.float32(0))
    return logprobs


def continued(logits: torch.Tensor, ids: Sequence[int], start: int) -> Continuation:
    """The tokens ids[start:] by the logits of the whole text, (1, len(ids), vocabulary)."""
    import torch

    logprobs = forced_logprobs(logits[:, start - 1 :], ids[start - 1 :])
    parts = [np.zeros(0, dtype=np.float32)]
    for first in range(start - 1, len(ids) - 1, _CHUNK_TOKENS):
        logs = torch.log_softmax(logits[0, first : min(first + _CHUNK_TOKENS, len(ids) - 1)].float(), dim=-1)
        shares = logs.exp()
        parts.append(-torch.where(shares > 0, shares * logs, 0.0).sum(dim=-1).cpu().numpy())
    return Continuation(logprobs, np.maximum(np.concatenate(parts), np.float32(0)))


def usable_logits(logits: torch.Tensor) -> bool:
    """False with a NaN or +Inf, or where nothing is finite; -Inf alone marks tokens that are ruled out."""
    top = float(logits.max())
    return top == top and abs(top) != float("inf")
