"""Support, judge and contrast joined to one probability, fitted on what this model said of known texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exllama_guard.core.measures import Measure

__all__ = ["Join", "Signals", "fitted", "points_of"]

Floats = npt.NDArray[np.float64]

_LEAST = 1e-3  # of a probability, before its log-odds are taken
_RIDGE = 1.0  # of standardised weights: one prior row in favour of saying nothing
_STEPS = 40
_RIGHT_ABOVE = 0.95  # share of right statements among those that may pass
_WRONG_BELOW = 0.90  # share of wrong statements among those that may fail
_EVEN = 0.5
_FEWEST = 20  # statements beyond a point, else none is placed


@dataclass(frozen=True, slots=True)
class Signals:
    """What was measured of one statement; `contrast` NotScored counts as saying nothing."""

    support: float  # [0, 1]
    judge: Measure  # log-odds
    contrast: Measure  # nats

    def features(self) -> tuple[float, float, float]:
        """Log-odds of support, judge, contrast; 0 for what was not measured."""
        share = min(max(self.support, _LEAST), 1.0 - _LEAST)
        judge = self.judge if isinstance(self.judge, float) else 0.0
        contrast = self.contrast if isinstance(self.contrast, float) else 0.0
        return math.log(share / (1.0 - share)), judge, contrast


@dataclass(frozen=True, slots=True)
class Join:
    """A logistic model over the signals, and where a statement passes (from) or fails (below), or None."""

    weights: tuple[float, float, float]
    bias: float
    accept: float | None = None
    reject: float | None = None

    def support(self, signals: Signals) -> float:
        """Probability [0, 1] that the evidence supports the statement."""
        reach = self.bias + sum(w * x for w, x in zip(self.weights, signals.features(), strict=True))
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, reach))))


def fitted(rows: Sequence[Signals], right: Sequence[bool]) -> Join:
    """The join that explains the rows best (logistic regression with a ridge, Newton's steps)."""
    x = np.array([row.features() for row in rows], dtype=np.float64)
    y = np.array(right, dtype=np.float64)
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    design = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    ridge = np.diag([_RIDGE, _RIDGE, _RIDGE, 1e-6])
    beta = np.zeros(4)
    for _ in range(_STEPS):
        shares = 1.0 / (1.0 + np.exp(-np.clip(design @ beta, -30, 30)))
        slope = design.T @ (shares - y) + ridge @ beta
        curve = (design * (shares * (1.0 - shares))[:, None]).T @ design + ridge
        step = np.linalg.solve(curve, slope)
        beta -= step
        if float(np.abs(step).max()) < 1e-8:
            break
    weights = beta[:3] / scale
    one, two, three = (float(weight) for weight in weights)
    return Join((one, two, three), float(beta[3] - (weights * mean).sum()))


def points_of(scores: Floats, right: npt.NDArray[np.bool_]) -> tuple[float | None, float | None]:
    """The lowest score from which 95 of 100 statements are right, the highest below which 90 are wrong.

    Read from scores out of fold; None where no 20 statements lie beyond such a point. What is likelier right
    than wrong never fails, and the other way round, however the rest of its side reads.
    """
    order = np.argsort(-scores, kind="stable")
    count = np.arange(1, len(scores) + 1)
    sure = np.cumsum(right[order]) / count >= _RIGHT_ABOVE
    lost = np.cumsum(~right[order[::-1]]) / count >= _WRONG_BELOW
    accepted = np.flatnonzero(sure & (count >= _FEWEST))
    rejected = np.flatnonzero(lost & (count >= _FEWEST))
    accept = float(scores[order[accepted[-1]]]) if len(accepted) else None
    reject = float(scores[order[::-1][rejected[-1]]]) if len(rejected) else None
    return (
        None if accept is None else max(accept, _EVEN),
        None if reject is None else min(reject, _EVEN),
    )
