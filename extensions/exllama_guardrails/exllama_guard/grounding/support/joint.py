"""What is measured of one statement, joined to one probability that the snippets support it.

A logistic model over the wording (log-odds of the lexical model), the facts and the reader where it has read.
Its weights are fitted on ordinary answers, signs held: a conflict can never raise support.
Source of the form and the points: docs/decisions/verdict.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from exllama_guard.grounding.support.model import Points, probability

JOINT_FILE = Path(__file__).parent / "data" / "joint.json"
ABSENCE = "absence"  # of a statement that says what the documents do not hold
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
def load_joint(variant: str, read: bool = False) -> Joint:
    """The weights for what was measured: "words" with an embedder, "plain" without, ABSENCE; `read` by a reader.

    A reader has no say in what the documents are said not to hold.
    """
    name = variant + ("+reader" if read and variant != ABSENCE else "")
    raw = json.loads(JOINT_FILE.read_text(encoding="utf-8"))["variants"][name]
    return Joint(raw["weights"], raw["bias"], Points(**raw["points"]))


def wording(logit: float) -> float:
    """The lexical model's log-odds, bounded."""
    return max(-_LOGIT_REACH, min(_LOGIT_REACH, logit))
