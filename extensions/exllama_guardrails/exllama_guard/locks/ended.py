"""What may come once a wholly locked reply is complete: its end, and nothing else."""

from __future__ import annotations

import numpy as np

from exllama_guard.locks.compiled import CompiledLock
from exllama_guard.locks.run import LockRun, Mask, Phase

__all__ = ["mask_to_the_end"]


def mask_to_the_end(run: LockRun, lock: CompiledLock) -> Mask | None:
    """The mask of a `run` of `lock`; once a wholly locked reply is complete, its end tokens alone.

    ExLlama's own filters leave the text free once a grammar is complete, and a model then goes on writing
    behind the JSON. The array may be reused by the next call; None where every token may come.
    """
    if run.phase is not Phase.DONE or not lock.always or not lock.vocabulary.eos_ids:
        return run.mask()
    words = np.zeros((lock.vocabulary.size + 31) // 32, dtype=np.uint32)
    for token in lock.vocabulary.eos_ids:
        words[token >> 5] |= np.uint32(1) << np.uint32(token & 31)
    return words.view(np.int32)
