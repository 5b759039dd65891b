"""A lock as a transformers logits processor: Transformers, ExLlamav3_HF and (WebUI 3) ExLlamav2_HF."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from exllama_guard.tools.locks.compiled import CompiledLock
from exllama_guard.tools.locks.run import LockRun, Phase

__all__ = ["LockProcessor", "apply_mask"]

# The end of the prompt that can hold an opened thinking block, or a call that is to be continued.
_PROMPT_END_TOKENS = 256
_FORBIDDEN = np.float32("-inf")
# By byte of a mask: the largest score that each of its eight tokens may have.
_LIMITS = np.where(
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little") == 1,
    np.float32("inf"),
    _FORBIDDEN,
)


class LockProcessor:
    """Called with input_ids of shape (1, n) and scores of (1, vocabulary), returns scores of that shape.

    It follows one sequence. Where a generation goes back (speculation, a restart), the lock is replayed;
    where several sequences run at once, nothing is masked and `reason` says so.

    Args:
        lock: The compiled lock.
        limit: Most tokens that the reply may have; None where that is not known.
    """

    def __init__(self, lock: CompiledLock, limit: int | None = None) -> None:
        self._lock = lock
        self._limit = limit
        self._run: LockRun | None = None
        self._prompt_tokens = 0
        self._written: list[int] = []
        self.reason = ""
        self.mask_s: list[float] = []  # seconds that each mask took

    @property
    def phase(self) -> Phase:
        """Where the reply stands."""
        return self._run.phase if self._run else Phase.FREE

    @property
    def closed(self) -> bool:
        """Whether the reply was brought to its end because its limit was near."""
        return self._run is not None and self._run.closed

    @property
    def locked_tokens(self) -> int:
        """Tokens that were written inside the lock."""
        return self._run.locked_tokens if self._run else 0

    def __call__(self, input_ids: Any, scores: Any) -> Any:  # noqa: ANN401, D102 - the library's signature
        if input_ids.shape[0] != 1:
            self.reason = (
                f"{input_ids.shape[0]} sequences run at once; a lock follows one. Set num_beams to 1."
            )
            return scores
        run = self._follow(input_ids[0])
        started = time.perf_counter()
        mask = run.mask()
        if mask is not None:
            self.mask_s.append(time.perf_counter() - started)
            scores = apply_mask(scores, mask, self._lock.vocabulary.size)
        if run.phase is Phase.BROKEN:
            self.reason = run.reason
        return scores

    def _follow(self, ids: Any) -> LockRun:  # noqa: ANN401 - torch.Tensor
        if self._run is None:
            self._prompt_tokens = len(ids)
            self._run = self._fresh(ids)
        if len(ids) == self._prompt_tokens + len(self._written) + 1:  # the usual step
            new = [int(ids[-1])]
        else:
            written = ids[self._prompt_tokens :].tolist()
            if written[: len(self._written)] != self._written or len(written) < len(self._written):
                self._run = self._fresh(ids[: self._prompt_tokens])
                self._written = []
            new = written[len(self._written) :]
        for token in new:
            self._run.feed(token)
        self._written += new
        return self._run

    def _fresh(self, prompt: Any) -> LockRun:  # noqa: ANN401 - torch.Tensor
        tokens = self._lock.vocabulary.tokens
        end = prompt[-_PROMPT_END_TOKENS:].tolist()
        written = b"".join(tokens[token] for token in end if token < len(tokens))
        return LockRun(self._lock, written, self._limit)


def apply_mask(scores: Any, mask: Any, size: int) -> Any:  # noqa: ANN401 - torch.Tensor, packed bits
    """`scores` with -inf at every token that the packed `mask` forbids, and past the tokenizer's `size`.

    On the CPU by numpy, without a branch a token and on one thread: from 32,768 elements on torch wakes its
    others, which takes longer than the whole mask. On a device, the packed bits travel: 6 kB for 49k tokens.
    """
    import torch

    if scores.device.type != "cpu" or scores.dtype is not torch.float32:
        return _apply_on_device(scores, mask, size)
    given = scores.detach().numpy()
    width = given.shape[-1]
    limits = _LIMITS.take(mask.view(np.uint8), axis=0).reshape(-1)
    if width > len(limits):
        limits = np.concatenate([limits, np.full(width - len(limits), _FORBIDDEN)])
    limits[size:] = _FORBIDDEN
    return torch.from_numpy(np.minimum(given, limits[:width]))


def _apply_on_device(scores: Any, mask: Any, size: int) -> Any:  # noqa: ANN401 - torch.Tensor, packed bits
    import torch

    words = torch.from_numpy(mask.copy()).to(scores.device, non_blocking=True)
    places = torch.arange(32, dtype=torch.int32, device=scores.device)
    banned = ((words.unsqueeze(1) >> places) & 1).flatten()[:size] == 0
    width = scores.shape[-1]
    if width > size:
        banned = torch.nn.functional.pad(banned, (0, width - size), value=True)
    return scores.masked_fill(banned[:width], float("-inf"))
