"""The fitted model: from a claim's features to a calibrated probability, with weights from a readable file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_FILE = Path(__file__).parent / "data" / "weights.json"


@dataclass(frozen=True, slots=True)
class Weights:
    """One fitted model. A claim passes from `accept`, fails below `reject`; `cut` parts the two best."""

    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...]
    bias: float
    cut: float
    accept: float
    reject: float

    def probability(self, features: Mapping[str, float]) -> float:
        """Calibrated probability [0, 1] that the snippets carry a claim with these features."""
        total = self.bias
        for name, mean, scale, weight in zip(self.features, self.mean, self.scale, self.weight, strict=True):
            total += weight * max(-4.0, min(4.0, (features[name] - mean) / scale))
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, total))))


@lru_cache(maxsize=8)
def load_weights(variant: str) -> Weights:
    """The weights fitted for a variant: "words", "sentences" or "plain" (what the embedder gives)."""
    variants = json.loads(_FILE.read_text(encoding="utf-8"))["variants"]
    raw = variants.get(variant) or variants["plain"]
    terms = raw["terms"]
    return Weights(
        features=tuple(terms),
        mean=tuple(term["mean"] for term in terms.values()),
        scale=tuple(term["scale"] for term in terms.values()),
        weight=tuple(term["weight"] for term in terms.values()),
        bias=raw["bias"],
        cut=raw["cut"],
        accept=raw["accept"],
        reject=raw["reject"],
    )


def variant_for(features: Mapping[str, float]) -> str:
    """Which weights fit what was measured."""
    if "word_mean" in features:
        return "words"
    return "sentences" if "cosine" in features else "plain"
