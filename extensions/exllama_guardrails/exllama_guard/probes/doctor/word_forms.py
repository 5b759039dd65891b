"""Whose fault it is that a model does not read English: its tokenizer's, or its weights'.

A word and its capitalised form have embeddings that are alike, in every model that was trained with this
tokenizer. Where they are not, the ids mean other words to the model.
"""

from __future__ import annotations

import numpy as np

from exllama_guard.core.measures import FloatArray
from exllama_guard.probes.doctor.reading import Reading

__all__ = ["tokenizer_belongs"]

_WORDS = [
    "the",
    "and",
    "that",
    "this",
    "with",
    "from",
    "have",
    "when",
    "where",
    "what",
    "there",
    "they",
    "their",
    "will",
    "would",
    "about",
    "after",
    "before",
    "between",
    "because",
    "school",
    "river",
    "house",
    "village",
    "winter",
    "summer",
    "morning",
    "water",
    "people",
    "world",
    "country",
    "city",
    "state",
    "music",
    "history",
    "science",
    "teacher",
    "mother",
    "father",
    "children",
    "work",
    "time",
    "year",
    "day",
    "night",
    "home",
    "school",
    "small",
    "large",
    "first",
    "second",
    "white",
    "black",
    "green",
    "family",
    "company",
    "market",
    "power",
    "light",
    "table",
    "story",
]
_LEAST_PAIRS = 15
_ALIKE = 0.05  # cosine above that of other words; 0.3 in the models at hand
_ERRORS = 3.0


def tokenizer_belongs(model: Reading) -> bool | None:
    """Whether a word and its capitalised form are alike to the model; None where that cannot be seen."""
    inside = model.inside()
    if inside is None:
        return None
    pairs = set()
    for word in _WORDS:
        low, high = model.token_ids(f" {word}"), model.token_ids(f" {word.capitalize()}")
        if len(low) == len(high) == 1 and low != high:
            pairs.add((low[0], high[0]))
    if len(pairs) < _LEAST_PAIRS:
        return None
    firsts = _unit(inside.embeddings([a for a, _ in sorted(pairs)]))
    seconds = _unit(inside.embeddings([b for _, b in sorted(pairs)]))
    if not (np.isfinite(firsts).all() and np.isfinite(seconds).all()):
        return None
    alike = (firsts * seconds).sum(axis=1)
    others = (firsts * np.roll(seconds, 1, axis=0)).sum(axis=1)
    gap = alike - others
    error = float(gap.std() / len(gap) ** 0.5)
    return bool(gap.mean() > _ALIKE and gap.mean() > _ERRORS * error)


def _unit(rows: FloatArray) -> FloatArray:
    found: FloatArray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return found
