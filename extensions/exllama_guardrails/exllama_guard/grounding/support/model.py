"""The fitted model: from a claim's features to a calibrated probability, with weights from a readable file.

A claim has several aspects (are its words there, its numbers, its polarity ...). Each aspect is a weighted
sum of features; the claim is as supported as its weakest aspect, by a soft minimum, and so is an answer by
its claims. Signs are held by the fit: a missing word can never raise support.
Source: docs/decisions/support-score.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from exllama_guard.core.finite import read_fitted

WEIGHTS_FILE = Path(__file__).parent / "data" / "weights.json"
_REACH = 4.0  # standard deviations beyond which a feature says no more
_SHARPNESS = 2.0  # of the soft minimum over aspects, as fitted


@dataclass(frozen=True, slots=True)
class Points:
    """Operating points on the probability: passes from `accept`, fails below `reject`, `cut` parts best."""

    cut: float
    accept: float
    reject: float


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """How a verifier's word joins the model's own: claims between `ask_from` and `ask_to` are asked about."""

    own: float
    weight: float
    bias: float
    ask_from: float
    ask_to: float
    points: Points


@dataclass(frozen=True, slots=True)
class Weights:
    """One fitted model; `aspects` has shape (features, aspects), `common` counts for all of them alike."""

    features: tuple[str, ...]
    mean: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    aspects: npt.NDArray[np.float64]
    offsets: npt.NDArray[np.float64]
    common: npt.NDArray[np.float64]
    slope: float
    bias: float
    points: Points
    verifier: SecondOpinion

    def logit(self, features: Mapping[str, float]) -> float:
        """Calibrated log-odds that the snippets carry a claim with these features."""
        values = np.array([features[name] for name in self.features])
        standard = np.clip((values - self.mean) / self.scale, -_REACH, _REACH)
        each = standard @ self.aspects + self.offsets
        weakest = -float(np.logaddexp.reduce(-_SHARPNESS * each)) / _SHARPNESS
        weakest += float((values - self.mean) @ self.common)
        return self.slope * weakest + self.bias

    def joined(self, logit: float, entailment: float) -> float:
        """Log-odds after a verifier gave the claim this probability of entailment."""
        said = math.log((entailment + 1e-3) / (1.0 - entailment + 1e-3))
        return self.verifier.own * logit + self.verifier.weight * said + self.verifier.bias


def probability(logit: float) -> float:
    """The probability [0, 1] of log-odds."""
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, logit))))


def read_weights(raw: Mapping[str, Any]) -> Weights:
    """The weights of one variant from its part of the file."""
    terms = raw["terms"]
    verifier = raw["verifier"]
    return Weights(
        features=tuple(terms),
        mean=np.array([term["mean"] for term in terms.values()]),
        scale=np.array([term["scale"] for term in terms.values()]),
        aspects=np.array([term["weights"] for term in terms.values()]),
        offsets=np.array(raw["offsets"]),
        common=np.array([raw.get("common", {}).get(name, 0.0) for name in terms]),
        slope=raw["slope"],
        bias=raw["bias"],
        points=Points(**raw["points"]),
        verifier=SecondOpinion(
            **{name: value for name, value in verifier.items() if name != "points"},
            points=Points(**verifier["points"]),
        ),
    )


@lru_cache(maxsize=8)
def load_weights(variant: str) -> Weights:
    """The weights fitted for a variant: "words", "sentences" or "plain" (what the embedder gives).

    Raises:
        ScoringError: The file of the weights is damaged.
    """
    return read_fitted(WEIGHTS_FILE, lambda raw: read_weights(raw["variants"][variant]))


def variant_for(features: Mapping[str, float]) -> str:
    """Which weights fit what was measured."""
    if "word_mean" in features:
        return "words"
    return "sentences" if "cosine" in features else "plain"
