"""What the runs on a GPU need of a mode beyond what the product does: many replies at once, the adapters' view."""

from __future__ import annotations

from collections.abc import Sequence

from exllama_guard.backends import LoadedModel, LoadSettings, reference
from exllama_guard.probes.generation import Sampling
from exllama_guard.probes.modes.exllama import ExLlamaMode
from exllama_guard.probes.modes.exllama_open import ExLlamaSpec, OpenedModel
from exllama_guard.probes.modes.exllama_write import _job_v3, _results
from exllama_guard.tools.locks import CompiledLock

_TOGETHER = 16  # jobs that ExLlamaV3 is given at once


def loaded_of(spec: ExLlamaSpec, held: object, tokenizer: object | None = None) -> LoadedModel:
    """What the adapters take: weak references, so `held` must be kept by the caller."""
    return LoadedModel(
        name=spec.path.name,
        loader=spec.loader,
        model=reference(held),
        tokenizer=reference(held if tokenizer is None else tokenizer),
        path=spec.path,
        settings=LoadSettings(
            cache_type=spec.cache_type,
            split=spec.split,
            context_tokens=spec.context_tokens,
            tensor_parallel=spec.tensor_parallel,
            tensor_backend=spec.tensor_backend,
        ),
    )


def write_together(
    mode: ExLlamaMode, wanted: Sequence[tuple[str, int, CompiledLock | None]], sampling: Sampling
) -> list[tuple[str, int]]:
    """(text, its tokens) of each (prompt as it stands, seed, lock); ExLlamaV3 writes many at a time."""
    if mode.spec.library == "exllamav3":
        return _write_together_v3(mode.held, wanted, sampling)
    made = [list(mode.stream(prompt, sampling, seed, lock)) for prompt, seed, lock in wanted]
    return [("".join(text for text, _ in steps), sum(count for _, count in steps)) for steps in made]


def _write_together_v3(
    held: OpenedModel, wanted: Sequence[tuple[str, int, CompiledLock | None]], sampling: Sampling
) -> list[tuple[str, int]]:
    """(text, its tokens) of each (prompt, seed, lock), some at a time in one batch."""
    out: list[tuple[str, int]] = []
    for first in range(0, len(wanted), _TOGETHER):
        jobs = [
            _job_v3(held, prompt, sampling, seed, lock)
            for prompt, seed, lock in wanted[first : first + _TOGETHER]
        ]
        parts = {id(job): list[str]() for job in jobs}
        counts = dict.fromkeys(parts, 0)
        for job in jobs:
            held.generator.enqueue(job)
        while held.generator.num_remaining_jobs():
            for job, text, count in _results(held):
                parts[id(job)].append(text)
                counts[id(job)] += count
        out += [("".join(parts[id(job)]), counts[id(job)]) for job in jobs]
    return out
