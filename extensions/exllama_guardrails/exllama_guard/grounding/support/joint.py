"""What is measured of one statement, joined to one probability that the snippets support it.

A logistic model over the wording (log-odds of the lexical model), the facts and the reader where it has read.
Its weights are fitted on ordinary answers, signs held: a conflict can never raise support.
Source of the form and the points: docs/decisions/verdict.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from exllama_guard.core.finite import read_fitted
from exllama_guard.grounding.support.model import Points, probability

JOINT_FILE = Path(__file__).parent / "data" / "joint.json"
_LOGIT_REACH = 6.0  # the wording's log-odds say no more beyond


@dataclass(frozen=True, slots=True)
class Joint:
    """One fitted variant: weights by name, and the points at which a statement passes or fails."""

    weights: Mapping[str, float]
    bias: float
    points: Points

    def support(self, features: Mapping[str, float]) -> float:
        """Probability [0, 1] that the snippets support a statement with these features."""
        return probability(self.bias + sum(weight * features[name] for name, weight in self.weights.items()))


@lru_cache(maxsize=8)
def load_joint(embedded: bool, read: bool) -> Joint:
    """The weights for what was measured: with or without an embedder, with or without a reader.

    Raises:
        ScoringError: The file of the weights is damaged.
    """
    name = ("words" if embedded else "plain") + ("+reader" if read else "")
    return read_fitted(JOINT_FILE, lambda raw: _joint(raw["variants"][name]))


def _joint(raw: Mapping[str, Any]) -> Joint:
    weights = {name: float(value) for name, value in raw["weights"].items()}
    return Joint(weights, float(raw["bias"]), Points(**raw["points"]))


def wording(logit: float) -> float:
    """The lexical model's log-odds, bounded."""
    return max(-_LOGIT_REACH, min(_LOGIT_REACH, logit))
