"""Which passages help with a question: ranked by meaning and by words, and only those that bear on it.

A passage's rank is its cosine to what is asked and half the share of what the question names that it names
too. (Reciprocal rank fusion of cosine and BM25 found less, in both benches.) Whether it bears on it is
a logistic model of how near it is, how much of what the question names it names too, and whether the message
has the form of small talk; its weights and limit are fitted by tests/bench/fit_retrieval.py and stored with
their provenance in data/retrieval.json.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from exllama_guard.core.measures import FloatArray
from exllama_guard.grounding import Talk, TalkKind
from exllama_guard.sources.knowledge_index import Index
from exllama_guard.sources.knowledge_scale import WEIGHTS_FILE, Scale
from exllama_guard.sources.knowledge_words import terms

__all__ = ["Asked", "Passage", "RetrievalWeights", "bearing", "ranked", "retrieval_weights", "that_help"]

_COURTESIES = frozenset({TalkKind.GREETING, TalkKind.THANKS, TalkKind.GOODBYE})
_SURE = 0.8
_OF_WORDS = 0.5  # what a passage with all that is named gains in cosine; the best of 0.2 to 1 on XQuAD


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked for: unit vectors, shape (texts, d), of the question alone and with what it leans on."""

    vectors: FloatArray
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of the index: its row, its cosine to what is asked, and the share of its names it has."""

    row: int
    cosine: float
    share: float


def ranked(index: Index, asked: Asked, k: int) -> tuple[Passage, ...]:
    """At most `k` passages, best first, without near copies; none for a text without content."""
    if not asked.vectors.any():
        return ()
    cosines = (index.vectors @ asked.vectors.T).max(axis=1)
    named = tuple(terms(asked.text, asking=True))
    shares = index.words.shares(named)
    best = np.argsort(-(cosines + _OF_WORDS * shares), kind="stable")
    rows = index.without_copies(best, k)
    return tuple(Passage(row, float(cosines[row]), float(shares[row])) for row in rows)


@dataclass(frozen=True, slots=True)
class RetrievalWeights:
    """The fitted model: log-odds = bias + near * nearness + shared * share - talk * confidence."""

    bias: float
    near: float
    shared: float
    talk: float
    limit: float  # a passage below this probability does not help


@lru_cache(maxsize=1)
def retrieval_weights() -> RetrievalWeights:
    """The weights that the extension ships."""
    raw = json.loads(WEIGHTS_FILE.read_text(encoding="utf-8"))
    return RetrievalWeights(raw["bias"], raw["near"], raw["shared"], raw["talk"], raw["limit"])


def bearing(passage: Passage, talk: float, scale: Scale, weights: RetrievalWeights) -> float:
    """Probability [0, 1] that the passage bears on a message; `talk` is how surely that is small talk."""
    logit = (
        weights.bias
        + weights.near * scale.near(passage.cosine)
        + weights.shared * passage.share
        - weights.talk * talk
    )
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, logit))))


def that_help(passages: Sequence[Passage], talk: Talk, scale: Scale) -> tuple[Passage, ...]:
    """Those of `passages` that bear on the message, in their order; none for a greeting or thanks."""
    if talk.kind in _COURTESIES and talk.confidence >= _SURE:
        return ()
    weights = retrieval_weights()
    return tuple(one for one in passages if bearing(one, talk.confidence, scale, weights) >= weights.limit)
