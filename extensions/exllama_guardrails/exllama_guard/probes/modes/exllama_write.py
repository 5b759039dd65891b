"""How each ExLlama library writes a reply and reads forced tokens, the way the WebUI's loaders call it.

Written against exllamav2 0.3.2 (`generator/streaming.py`) and exllamav3 1.6.5 (`generator/generator.py`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from exllama_guard.probes.generation import Sampling
from exllama_guard.probes.modes.exllama_open import OpenedModel
from exllama_guard.tools.locks import CompiledLock, filter_for_exllamav2, filter_for_exllamav3

if TYPE_CHECKING:
    import torch


__all__ = ["forward_v2", "forward_v3", "stream_v2", "stream_v3"]

_PROMPT_END_BYTES = 1024  # of a prompt, in which a lock looks for an opened thinking block


def stream_v2(
    held: OpenedModel, prompt: str, sampling: Sampling, seed: int, lock: CompiledLock | None
) -> Iterator[tuple[str, int]]:
    """(new text, its tokens) by the streaming generator."""
    from exllamav2.generator import ExLlamaV2Sampler

    settings = ExLlamaV2Sampler.Settings.greedy()
    if not sampling.deterministic:
        settings = ExLlamaV2Sampler.Settings(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            token_repetition_penalty=1.0,
        )
    random.seed(seed)  # the streaming generator draws from it
    ids = held.tokenizer.encode(prompt, add_bos=False, encode_special_tokens=True)
    filters = [] if lock is None else [filter_for_exllamav2(lock, held.generator, limit=sampling.max_tokens)]
    held.generator.begin_stream_ex(ids, settings, filters=filters)
    for _ in range(sampling.max_tokens):
        step = held.generator.stream_ex()
        if step["eos"]:
            yield step["chunk"], 0
            return
        yield step["chunk"], 1


def forward_v2(held: OpenedModel, ids: torch.Tensor, past: int) -> torch.Tensor:
    """Logits (1, n, vocabulary) of `ids` behind the first `past` tokens of the cache."""
    held.cache.current_seq_len = past
    logits: torch.Tensor = held.model.forward(ids, held.cache)
    return logits[..., : held.config.vocab_size]


def stream_v3(
    held: OpenedModel, prompt: str, sampling: Sampling, seed: int, lock: CompiledLock | None
) -> Iterator[tuple[str, int]]:
    """(new text, its tokens) by a job of the paged generator."""
    job = _job_v3(held, prompt, sampling, seed, lock)
    held.generator.enqueue(job)
    try:
        while held.generator.num_remaining_jobs():
            for _, text, count in _results(held):
                yield text, count
    finally:
        if held.generator.num_remaining_jobs():
            held.generator.cancel(job)


def _results(held: OpenedModel) -> Iterator[tuple[Any, str, int]]:
    for result in held.generator.iterate():
        if result["stage"] == "streaming":
            made = result.get("token_ids")
            yield result["job"], result.get("text", ""), 0 if made is None else int(made.shape[-1])


def _job_v3(held: OpenedModel, prompt: str, sampling: Sampling, seed: int, lock: CompiledLock | None) -> Any:  # noqa: ANN401 - exllamav3
    from exllamav3 import Job
    from exllamav3.generator.sampler import (
        CustomSampler,
        SS_Argmax,
        SS_Sample,
        SS_Temperature,
        SS_TopK,
        SS_TopP,
    )

    if sampling.deterministic:
        chain: list[Any] = [SS_Argmax()]
    else:
        chain = [SS_TopK(sampling.top_k)] if sampling.top_k else []
        chain += [SS_TopP(sampling.top_p), SS_Temperature(sampling.temperature), SS_Sample()]
    end, most = prompt.encode()[-_PROMPT_END_BYTES:], sampling.max_tokens
    return Job(
        input_ids=held.tokenizer.encode(prompt, add_bos=False, encode_special_tokens=True),
        max_new_tokens=most,
        sampler=CustomSampler(chain),
        seed=seed,
        stop_conditions=[one for one in held.config.eos_token_id_list if one is not None],
        filters=None if lock is None else [filter_for_exllamav3(lock, held.tokenizer, end, limit=most)],
    )


def forward_v3(held: OpenedModel, ids: torch.Tensor, past: int) -> torch.Tensor:
    """Logits (1, n, vocabulary) of `ids` behind the first `past` tokens of the cache."""
    logits: torch.Tensor = held.model.forward(
        input_ids=ids,
        params={
            "attn_mode": "flash_attn",
            "cache": held.cache,
            "past_len": past,
            "batch_shape": (1, held.max_tokens),
        },
    )
    return logits[..., : held.model.config.vocab_size]
