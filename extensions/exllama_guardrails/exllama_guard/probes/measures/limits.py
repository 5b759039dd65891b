"""The limits that retrieval is judged by: of one embedder, as they were set or calibrated."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RetrievalLimits"]


@dataclass(frozen=True, slots=True)
class RetrievalLimits:
    """Of ΔS, a cosine distance in [0, 2], and of coverage, a share; the seed study's for all-MiniLM-L6-v2."""

    distance_pass: float = 0.45
    distance_fail: float = 0.60
    coverage_pass: float = 0.70
