"""What a reader's logits say of one statement, as features of the joint model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from exllama_guard.core.ports import Reading

_LEAST = 1e-4
_ASIDE = 0.6  # probability from which a statement that holds no fact is taken for none


@dataclass(frozen=True, slots=True)
class ReaderWord:
    """One statement as read: log-odds of support, log-odds that each word stands, P(it claims nothing)."""

    support: float
    words: float
    nothing: float

    @property
    def is_aside(self) -> bool:
        """Whether the reader takes the statement for courtesy."""
        return self.nothing >= _ASIDE

    def features(self) -> dict[str, float]:
        """As the joint model names them."""
        return {"reader": self.support, "reader_words": self.words}


def words_of_reader(reading: Reading) -> tuple[ReaderWord, ...]:
    """One entry a statement that was read, in order."""
    out = []
    for logits, loud in zip(reading.judged, reading.words, strict=True):
        shares = np.exp(logits - logits.max())
        contradicted, absent, supported, nothing = (float(one) for one in shares / shares.sum())
        support = math.log(supported + _LEAST) - math.log(contradicted + absent + _LEAST)
        out.append(ReaderWord(support, -float(loud), nothing))
    return tuple(out)
