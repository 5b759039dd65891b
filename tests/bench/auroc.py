"""The measure that every fit and bench of support reports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def auroc(labels: np.ndarray | Sequence[int], scores: np.ndarray | Sequence[float]) -> float:
    """Area under the ROC curve in 0-1, ties counted half."""
    y, values = np.asarray(labels), np.asarray(scores)
    positive, negative = values[y == 1], np.sort(values[y == 0])
    below = np.searchsorted(negative, positive, side="left")
    upto = np.searchsorted(negative, positive, side="right")
    return float(((below + upto) / 2).sum() / (len(positive) * len(negative)))
