"""A lock as a transformers logits processor: Transformers, ExLlamav3_HF and (WebUI 3) ExLlamav2_HF."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from exllama_guard.locks.compiled import CompiledLock
from exllama_guard.locks.run import LockRun, Phase

__all__ = ["LockProcessor", "apply_mask"]

# The end of the prompt that can hold an opened thinking block, or a call that is to be continued.
_PROMPT_END_TOKENS = 256


class LockProcessor:
    """Called with input_ids of shape (1, n) and scores of (1, vocabulary), returns scores of that shape.

    It follows one sequence. Where a generation goes back (speculation, a restart), the lock is replayed;
    where several sequences run at once, nothing is masked and `reason` says so.
    """

    def __init__(self, lock: CompiledLock) -> None:
        self._lock = lock
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
        return LockRun(self._lock, b"".join(tokens[token] for token in end if token < len(tokens)))


def apply_mask(scores: Any, mask: Any, size: int) -> Any:  # noqa: ANN401 - torch.Tensor, packed bits
    """`scores` with -inf at every token that the packed `mask` forbids, and past the tokenizer's `size`."""
    import torch

    allowed = np.unpackbits(mask.view(np.uint8), bitorder="little")
    width = scores.shape[-1]
    if width > size:
        allowed = np.concatenate([allowed[:size], np.zeros(width - size, dtype=np.uint8)])
    banned = torch.from_numpy(allowed[:width] == 0)
    return scores.masked_fill(banned.to(scores.device), float("-inf"))
