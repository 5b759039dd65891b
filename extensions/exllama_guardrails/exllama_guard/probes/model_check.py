"""The doctor's reading test: a model reads plain English, with several RoPE bases and beside a reference."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exllama_guard.backends.files import weight_files_or_none
from exllama_guard.core.detect_model import (
    DEFAULT_ROPE,
    loader_against_reference,
    plain_english,
    rope_fit,
    tokenizer_pair,
)
from exllama_guard.core.fixed_text import PLAIN_ENGLISH
from exllama_guard.core.logit_drift import logit_drift
from exllama_guard.core.records import FloatArray
from exllama_guard.core.symptoms import Observation, unobserved
from exllama_guard.errors import BackendError
from exllama_guard.probes.local_mode import LocalMode, ModeSpec

if TYPE_CHECKING:
    import torch

__all__ = ["check_reading", "own_form"]

BASES = (DEFAULT_ROPE, 100_000.0, 500_000.0, 1_000_000.0)  # of SmolLM2 and most others since 2023
TOKENS = 240  # the fixed text is about as long; on fewer, bases differ less
_BIG_BYTES = 3 << 30  # weights beyond this are read in bfloat16

Say = Callable[[str], None]


def own_form(path: Path) -> str:
    """`float32` for a small model, else `bfloat16`, in which it takes half the memory."""
    size = sum(file.stat().st_size for file in weight_files_or_none(path))
    return "bfloat16" if size > _BIG_BYTES else "float32"


def check_reading(
    path: Path, reference: ModeSpec | None, say: Say = lambda _: None
) -> tuple[Observation, ...]:
    """PC1, PC5 and, with a reference, V5; a model that transformers cannot load gives the reason instead."""
    say(f"loading {path.name}")
    try:
        mode = LocalMode(ModeSpec(path.name, path, form=own_form(path)))
    except BackendError as error:
        return tuple(unobserved(id_, str(error)) for id_ in ("PC1", "PC5", "V5"))
    ids = mode.token_ids(PLAIN_ENGLISH)[:TOKENS]
    try:
        say("reading plain English")
        logs = mode.distributions(ids)
        nll = _nll(logs, ids)
        found = [plain_english(nll), _rope(mode, ids, nll, say)]
        again = mode.distributions(ids)
    except (BackendError, IndexError) as error:
        return (plain_english(20.0) if isinstance(error, IndexError) else unobserved("PC1", str(error)),)
    finally:
        mode.close()
    if reference is None:
        return (*found, unobserved("V5", "no reference was named (--reference)"))
    return (*found, *_beside(reference, mode.token_ids(PLAIN_ENGLISH)[:TOKENS], logs, again, say))


def _nll(logs: FloatArray, ids: Sequence[int]) -> float:
    return float(-logs[range(len(ids) - 1), list(ids[1:])].mean())


def _rope(mode: LocalMode, ids: Sequence[int], nll: float, say: Say) -> Observation:
    rotary = mode.rotary()
    if rotary is None:
        return unobserved("PC5", "this architecture has no plain rotary embedding to try other bases with")
    configured = _base(rotary)
    read = {configured: nll}
    for base in BASES:
        if all(abs(base / known - 1.0) > 0.05 for known in read):
            say(f"reading it with rope_theta {base:g}")
            with _with_base(rotary, base):
                read[base] = _nll(mode.distributions(ids), ids)
    return rope_fit(configured, read)


def _base(rotary: Any) -> float:  # noqa: ANN401 - a rotary embedding of any architecture
    """The base behind the frequencies 1 / base^(2i / d), from the last of them."""
    frequencies = rotary.inv_freq.double()
    n = len(frequencies)
    return float(round(float(frequencies[-1]) ** (-n / (n - 1))))


@contextlib.contextmanager
def _with_base(rotary: Any, base: float) -> Iterator[None]:  # noqa: ANN401
    import torch

    before: torch.Tensor = rotary.inv_freq
    n = len(before)
    powers = torch.arange(n, dtype=torch.float64) / n
    rotary.inv_freq = (1.0 / base**powers).to(before.dtype)
    try:
        yield
    finally:
        rotary.inv_freq = before


def _beside(
    reference: ModeSpec, ids: tuple[int, ...], logs: FloatArray, again: FloatArray, say: Say
) -> tuple[Observation, ...]:
    say(f"loading the reference {reference.label}")
    try:
        other = LocalMode(reference)
    except BackendError as error:
        return (unobserved("V5", str(error)),)
    try:
        theirs = other.token_ids(PLAIN_ENGLISH)[:TOKENS]
        if theirs != ids:
            return (
                tokenizer_pair("", "", (theirs, ids)),
                unobserved("V5", "the tokenizers differ, so there are no fixed tokens to compare on"),
            )
        say("comparing with the reference")
        drift = logit_drift(other.distributions(ids), logs, ids)
        floor = logit_drift(logs, again, ids)
        return (tokenizer_pair("", "", (theirs, ids)), loader_against_reference(drift, floor))
    finally:
        other.close()
