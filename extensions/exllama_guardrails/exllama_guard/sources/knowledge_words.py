"""The words of a folder's passages: what an embedder overlooks, such as a name or an option."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from exllama_guard.core.measures import FloatArray

__all__ = ["WordIndex", "terms"]

_NOWHERE = np.zeros(0, dtype=np.int32)
_STEM_CHARACTERS = 6  # "installed" and "installing" begin alike in every language that inflects at the end
_RUN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+|[^\W_]+(?:_+[^\W_]+)*")
_NO_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_ASKING = Path(__file__).parent / "data" / "asking.txt"  # words that ask and join, in seven languages


@lru_cache(maxsize=65_536)
def _stem(word: str) -> tuple[str, ...]:
    """The forms under which one run of letters is found: its beginning, and the parts of an identifier."""
    if _NO_SPACES.match(word):
        return (word,) if len(word) == 1 else tuple(word[at : at + 2] for at in range(len(word) - 1))
    parts = [part for part in word.split("_") if part]
    whole = (word,) if len(parts) > 1 else ()
    single = (part[:-1] if len(part) > 3 and part.endswith("s") else part for part in parts)  # "pumps"
    return (*whole, *(part[:_STEM_CHARACTERS] for part in single))


@lru_cache(maxsize=1)
def _asking() -> frozenset[str]:
    return frozenset(_ASKING.read_text(encoding="utf-8").split())


def terms(text: str, *, asking: bool = False) -> Iterator[str]:
    """The terms of `text` in order; pairs of signs where a script puts no spaces.

    With `asking` the words that ask and join ("what", "is", "of") are left out: they name nothing.
    """
    for match in _RUN.finditer(text.casefold()):
        if not (asking and match.group() in _asking()):
            yield from _stem(match.group())


@dataclass(frozen=True, slots=True)
class WordIndex:
    """Where each term stands: the rows of its passages, in order."""

    postings: Mapping[str, npt.NDArray[np.int32]]
    passages: int

    @classmethod
    def of(cls, texts: Sequence[str]) -> WordIndex:
        """The index of the passages `texts`, in their order."""
        rows: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            for term in set(terms(text)):
                rows.setdefault(term, []).append(row)
        return cls({term: np.array(at, dtype=np.int32) for term, at in rows.items()}, len(texts))

    def rarity(self, term: str) -> float:
        """Inverse document frequency of a term, >= 0; the highest for one that no passage has."""
        count = len(self.postings.get(term, ()))
        return float(np.log1p((self.passages - count + 0.5) / (count + 0.5)))

    def shares(self, asked: Sequence[str]) -> FloatArray:
        """Shape (passages,): share [0, 1] of what `asked` names, by rarity, that each passage names too."""
        out = np.zeros(self.passages, dtype=np.float32)
        total = 0.0
        for term in dict.fromkeys(asked):
            rarity = self.rarity(term)
            total += rarity
            out[self.postings.get(term, _NOWHERE)] += np.float32(rarity)
        return out / np.float32(total) if total > 0 else out
