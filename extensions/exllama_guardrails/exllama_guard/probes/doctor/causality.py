"""Does a loaded model read ahead? A text's beginning must cost the same whatever comes after it.

This needs no reference model, two passes of some 120 tokens, and finds attention without its causal mask,
which writes fluently: ExLlamaV2 0.2.9 to 0.3.2 lose the mask where they use torch's SDPA (attn.py,
`_attn_torch`: a branch for images takes the place of the causal one), which they do where neither flash-attn
nor xformers is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from exllama_guard.core.measures import FloatArray, Gate, NotScored
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved
from exllama_guard.probes.measures.fixed_text import PLAIN_ENGLISH
from exllama_guard.probes.measures.logit_drift import FLOOR_FACTOR

__all__ = ["TOKENS", "Reads", "check_causality", "remedy_of"]

TOKENS = 120  # of the plain text; the first half is what must not change
# Mean change of a token's log-probability that rounding explains. Ours: float16 kernels of another length
# differ by some 0.01 nats; a model that reads ahead by 0.5 and more (docs/gpu.md).
ROUNDING_NATS = 0.05

_REMEDIES = {
    "ExLlamav2": (
        "ExLlamaV2 0.2.9 to 0.3.2 lose the causal mask where they use torch's SDPA, that is without "
        "flash-attn and xformers: load with no_sdpa (WebUI 3.23: tick no_sdpa on the Model page or start "
        "with --no_sdpa; elsewhere set EXLLAMA_NO_SDPA=1), or install flash-attn."
    )
}
_ANY = "Load it with another attention (flash-attn on or off, SDPA off), or with another loader."


class Reads(Protocol):
    """A loaded model that reads given tokens in one pass."""

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Ids without special tokens added."""
        ...

    def logprobs(self, ids: Sequence[int]) -> FloatArray | NotScored:
        """Shape (n - 1,): natural log of P(id i | ids before), for i = 1 .. n - 1."""
        ...


def check_causality(model: Reads, loader: str = "") -> Observation:
    """V5: FAIL where what follows a text changes the probabilities of the text itself.

    Raises:
        BackendError: The model is gone.
    """
    ids = model.token_ids(PLAIN_ENGLISH)[:TOKENS]
    half = len(ids) // 2
    if half < 2:
        return unobserved("V5", f"{len(ids)} tokens of plain text; at least 4 are needed")
    endings = (ids[half:], ids[half:][::-1])
    first, again, other = (
        _known(model, (*ids[:half], *ending), half) for ending in (endings[0], endings[0], endings[1])
    )
    for value in (first, again, other):
        if isinstance(value, NotScored):
            return unobserved("V5", value)
    return _judged(first, again, other, loader)  # type: ignore[arg-type]


def remedy_of(loader: str) -> str:
    """What to do when a model of this loader reads ahead."""
    return _REMEDIES.get(loader.removesuffix("_HF"), _ANY)


def _known(model: Reads, ids: tuple[int, ...], half: int) -> FloatArray | NotScored:
    """Log-probabilities of the tokens before `half`."""
    values = model.logprobs(ids)
    return values if isinstance(values, NotScored) else values[: half - 1]


def _judged(first: FloatArray, again: FloatArray, other: FloatArray, loader: str) -> Observation:
    floor = float(np.abs(first - again).mean())
    change = float(np.abs(first - other).mean())
    seen = change > ROUNDING_NATS and change > FLOOR_FACTOR * floor
    sentence = (
        f"With another second half, the tokens of a text's first half change by {change:.3f} nats each "
        f"(the same text twice: {floor:.3f})."
    )
    if not seen:
        return observed(
            "V5", Gate.PASS, f"{sentence} The model does not read ahead.", change=change, floor=floor
        )
    sentence += f" The model reads ahead: its attention has no causal mask. {remedy_of(loader)}"
    return observed("V5", Gate.FAIL, sentence, change=change, floor=floor)
