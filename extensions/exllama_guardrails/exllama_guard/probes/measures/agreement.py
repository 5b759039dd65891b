"""Which answers mean the same: equal numbers, equal polarity, and near embeddings or entailment both ways."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from exllama_guard.core.measures import FloatArray
from exllama_guard.core.ports import Embedder, Verifier
from exllama_guard.core.turns import ClaimKind

__all__ = [
    "EQUAL_COSINE",
    "clusters_of",
    "is_refusal",
    "load_statistics",
    "numbers_of",
    "polarity_of",
    "same_meaning",
]

# Cosine from which two answers to one question count as one, for all-MiniLM-L6-v2: balanced accuracy .840
# on pairs of known standing, best .845 at 0.84 (tests/bench/equal_answers.py, docs/decisions/statistics.md).
EQUAL_COSINE = 0.80
ENTAILED = 0.5  # P(entailment) in both directions from which a verifier calls two answers equal

_CITATION = re.compile(
    r"[\[(【〔（]\s{0,9}(?:source|snippet|doc|ref|s|#|\^)?[\s.:]{0,9}\d{1,3}"
    r"(?:\s{0,9}[,;–-]\s{0,9}s?\d{1,3}){0,99}\s{0,9}[\])】〕）]",
    re.I,
)
_NO = re.compile(r"\W*(?:no|not|never|nein|non)\b", re.IGNORECASE)
_FAR = 3.0  # beyond any cosine distance: never one cluster


def load_statistics() -> None:
    """Imports what judging needs, which takes seconds the first time: done while answers are written."""
    import scipy.cluster.hierarchy
    import scipy.spatial.distance
    import scipy.stats  # noqa: F401 - the import is the work

    for read in (numbers_of, polarity_of, is_refusal):  # and what these import
        read("One of 2 is not so.")


def bare(text: str) -> str:
    """`text` without its citation marks, whose digits are no numbers of the answer."""
    return _CITATION.sub(" ", text)


def numbers_of(text: str) -> frozenset[tuple[float, str]]:
    """Numbers, with their units, and dates of an answer, each once; citation marks do not count."""
    from exllama_guard.grounding.support import dates_of, quantities_of

    plain = bare(text)
    numbers = {(quantity.value, quantity.unit) for quantity in quantities_of(plain)}
    dates = {
        (float(date.year or 0) * 1e4 + (date.month or 0) * 100 + (date.day or 0), "date")
        for date in dates_of(plain)
    }
    return frozenset(numbers | dates)


def polarity_of(text: str) -> bool:
    """False where the answer denies: it opens with a no, or holds an odd number of negations."""
    from exllama_guard.grounding.support import NEGATIONS, words_of

    plain = bare(text)
    if _NO.match(plain):
        return False
    return sum(word.norm in NEGATIONS for word in words_of(plain)) % 2 == 0


_DECLINES = re.compile(
    r"\b(?:sorry|can(?:not|'t|’t)|unable|(?:don't|don’t|do not) (?:have|know))\b", re.IGNORECASE
)


def is_refusal(text: str) -> bool:
    """True when the answer refuses and claims nothing else."""
    from exllama_guard.grounding.support import pieces_of

    pieces = pieces_of(text)
    declined = [p for p in pieces if p.kind is ClaimKind.REFUSAL or _DECLINES.search(p.text)]
    return bool(declined) and all(p.kind is not ClaimKind.CLAIM or p in declined for p in pieces)


def same_meaning(
    texts: Sequence[str],
    *,
    embedder: Embedder,
    verifier: Verifier | None = None,
    equal_cosine: float = EQUAL_COSINE,
) -> npt.NDArray[np.float64]:
    """Shape (n, n) distances in [0, 3], symmetric, 0 on the diagonal; up to 1 - `equal_cosine` means equal.

    Raises:
        EmbedderError: The embedder is missing or failed.
        VerifierError: The verifier failed.
    """
    vectors = embedder.embed([bare(text) for text in texts])
    near = _cosine_distances(vectors)
    agree = _agree([numbers_of(text) for text in texts]) & _agree([polarity_of(text) for text in texts])
    if verifier is not None:
        near = np.minimum(near, np.where(_entailed(texts, verifier), 1.0 - equal_cosine, _FAR))
    out = np.where(agree, near, _FAR)
    np.fill_diagonal(out, 0.0)
    return out


def _cosine_distances(vectors: FloatArray) -> npt.NDArray[np.float64]:
    """Pairwise; a text without content is as far from every other as can be."""
    wide = vectors.astype(np.float64)
    empty = np.linalg.norm(wide, axis=1) == 0.0
    distances = 1.0 - np.clip(wide @ wide.T, -1.0, 1.0)
    distances[empty, :] = distances[:, empty] = _FAR
    return distances


def _agree(values: Sequence[object]) -> npt.NDArray[np.bool_]:
    return np.array([[first == second for second in values] for first in values], dtype=bool).reshape(
        len(values), -1
    )


def _entailed(texts: Sequence[str], verifier: Verifier) -> npt.NDArray[np.bool_]:
    n = len(texts)
    pairs = [(first, second) for first in texts for second in texts]
    one_way = verifier.entailment(pairs)[:, 2].reshape(n, n) >= ENTAILED
    both: npt.NDArray[np.bool_] = one_way & one_way.T
    return both


def clusters_of(distances: npt.NDArray[np.float64], equal_cosine: float = EQUAL_COSINE) -> tuple[int, ...]:
    """Cluster number of each answer, from 0 in order of first appearance; every pair inside one is equal.

    Complete linkage (scipy), so that a chain of near answers does not join two that differ.
    """
    n = len(distances)
    if n < 2:
        return (0,) * n
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    tree = linkage(squareform(distances, checks=False), method="complete")
    raw = fcluster(tree, t=1.0 - equal_cosine + 1e-9, criterion="distance")
    order = {label: number for number, label in enumerate(dict.fromkeys(int(label) for label in raw))}
    return tuple(order[int(label)] for label in raw)
