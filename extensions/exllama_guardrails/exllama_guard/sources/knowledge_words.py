"""The words of a folder's passages: what an embedder overlooks, such as a name or an option."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from exllama_guard.core.measures import FloatArray

__all__ = ["WordIndex", "terms"]

_NOWHERE = np.zeros(0, dtype=np.int32)
_STEM_CHARACTERS = 6  # "installed" and "installing" begin alike in every language that inflects at the end
_RUN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+|[^\W_]+(?:_+[^\W_]+)*")
_NO_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_ASKING = frozenset(
    """a about am an and any are as at be been being by can could did do does doing for from had has have he her his
    how i if in into is it its may me might mine must my no not of on one or our please shall she should so some tell
    than that the their them then there these they this those to us was we were what when where which who whom whose
    why will with would you your
    aber als am an auch auf aus bei bis da das dass dem den der des die dies diese dieser du ein eine einem einen einer
    er es für gibt hat haben ich ihr im in ist kann kein keine man mich mir mit muss nach nicht noch oder sein sich sie
    sind so soll und uns vom von vor wann war warum was wäre welche welchem welchen welcher welches wenn wer werden wie
    wieso wir wird wo zu zum zur
    au aux avec ce ces cet cette combien comment dans de des du elle en est et eux il ils je la le les leur ma mais me
    mes mon ne nous ou où par pas peut pour pourquoi quand que quel quelle quelles quels qui quoi sa se ses son sont
    sur ta te tu un une vous
    al como cómo con cual cuál cuándo cuánto cuántos de del donde dónde e el ella en es esa ese eso esta este esto hay
    la las lo los me mi muy no nos o para pero por puede qué que quién se si sin sobre son su sus un una y
    alla che chi ci come con cosa da dei del della delle di do dove gli ha ho i il in io la le lo ma mi nel nella non
    perché più può quale quali quando quanti quanto sono sua sul sulla tra tu um uma à ao da das do dos é em na nas no
    nos onde os ou pelo porque qual quais quem são seu sua você
    dan dat de een en er het hij hoe ik is kan met niet of om ook op te van voor waar waarom wat welke wie worden zijn""".split()
)


@lru_cache(maxsize=65_536)
def _stem(word: str) -> tuple[str, ...]:
    """The forms under which one run of letters is found: its beginning, and the parts of an identifier."""
    if _NO_SPACES.match(word):
        return (word,) if len(word) == 1 else tuple(word[at : at + 2] for at in range(len(word) - 1))
    parts = [part for part in word.split("_") if part]
    whole = (word,) if len(parts) > 1 else ()
    return (*whole, *(part[:_STEM_CHARACTERS] for part in parts))


def terms(text: str, *, asking: bool = False) -> Iterator[str]:
    """The terms of `text` in order; pairs of signs where a script puts no spaces.

    With `asking` the words that ask and join ("what", "is", "of") are left out: they name nothing.
    """
    for match in _RUN.finditer(text.casefold()):
        if not (asking and match.group() in _ASKING):
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
        """Shape (passages,): the share [0, 1] of what `asked` names, by rarity, that each passage names too."""
        out = np.zeros(self.passages, dtype=np.float32)
        total = 0.0
        for term in dict.fromkeys(asked):
            rarity = self.rarity(term)
            total += rarity
            out[self.postings.get(term, _NOWHERE)] += np.float32(rarity)
        return out / np.float32(total) if total > 0 else out
