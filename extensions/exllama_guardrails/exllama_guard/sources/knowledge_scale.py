"""Where an embedder's cosines lie, so that one fitted limit holds for any embedder.

One model gives .2 to unrelated texts and another .7. Two places are measured, without a label: how near talk
that is about nothing comes to a folder's passages, and how near a passage's own first sentence is to it. The
places of the shipped embedder are in data/retrieval.json; those of another are measured in the folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from exllama_guard.core.measures import FloatArray
from exllama_guard.sources.knowledge_split import sentence_spans

__all__ = ["WEIGHTS_FILE", "Scale", "known_scale", "measured_scale"]

WEIGHTS_FILE = Path(__file__).parent / "data" / "retrieval.json"
_PASSAGES = 64  # that are looked at, evenly spread
_FEWEST_WORDS = 5  # of a first sentence that tells what its passage is about
_TALK = (
    "Hi, how are you today?",
    "Thanks, that was helpful!",
    "Write a short poem about the sea.",
    "Tell me a joke about cats.",
    "What should I cook tonight?",
    "I am so tired today.",
    "Good night, see you tomorrow!",
    "Translate good morning into Spanish.",
    "What is 17 percent of 240?",
    "Give me three names for a puppy.",
    "Who painted the Mona Lisa?",
    "Plan a weekend in Rome for two.",
    "Tell me a bedtime story about a dragon.",
    "Do you ever get bored?",
    "Should I cut my hair short?",
    "Let's play a word game.",
)


@dataclass(frozen=True, slots=True)
class Scale:
    """Cosines of an embedder: `low` for talk beside the subject, `high` for a passage's own sentence."""

    low: float
    high: float

    def near(self, cosine: float) -> float:
        """0 at `low`, 1 at `high`."""
        return (cosine - self.low) / max(self.high - self.low, 1e-3)


@lru_cache(maxsize=8)
def known_scale(embedder_id: str) -> Scale | None:
    """The scale of an embedder that was measured with the weights; None for another."""
    found = json.loads(WEIGHTS_FILE.read_text(encoding="utf-8"))["scales"].get(embedder_id)
    return Scale(found["low"], found["high"]) if found else None


def measured_scale(
    embed: Callable[[Sequence[str]], FloatArray], passages: Sequence[str], vectors: FloatArray
) -> Scale:
    """The scale of an embedder over passages with their vectors, shape (passages, d).

    Raises:
        EmbedderError: `embed` failed.
    """
    chosen = range(0, len(passages), max(1, len(passages) // _PASSAGES))
    first = {row: text for row in chosen if (text := _first_sentence(passages[row]))}
    talk = embed(_TALK)
    low = float(np.median((talk @ vectors.T).max(axis=1))) if len(passages) else 0.0
    if not first:
        return Scale(low, 1.0)
    own = embed(list(first.values()))
    high = float(np.median([vector @ vectors[row] for row, vector in zip(first, own, strict=True)]))
    return Scale(low, max(high, low))


def _first_sentence(text: str) -> str:
    """The first sentence of a passage that has more than one and enough words; "" where none has."""
    spans = sentence_spans(text)
    told = (text[span.start : span.end] for span in spans[:3] if len(spans) > 1)
    return next((one for one in told if len(one.split()) >= _FEWEST_WORDS), "")
