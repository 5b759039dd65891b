"""How far one mode's next-token distributions lie from another's, on the same forced text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exllama_guard.core.measures import FloatArray, Gate, NotScored, Reason

__all__ = ["LogitDrift", "LogitGates", "logit_drift", "logit_gates", "pooled"]

# Ours, uncalibrated: pass and review limits of mean KL (nats), ΔNLL (nats a token) and top-1 agreement.
KL_LIMITS = (0.05, 0.15)
NLL_LIMITS = (0.02, 0.05)
TOP1_LIMITS = (0.90, 0.80)
FLOOR_FACTOR = 3.0  # a difference counts only above three times what the same mode shows against itself


@dataclass(frozen=True, slots=True)
class LogitDrift:
    """Means over `tokens` positions; KL(reference ‖ mode) in nats, `delta_nll` mode - reference a token."""

    kl: float
    kl_p95: float
    delta_nll: float
    top1: float  # share of positions with the same likeliest token, [0, 1]
    tokens: int


@dataclass(frozen=True, slots=True)
class LogitGates:
    """Verdict of each number against its limits and the floor, and the worst of them."""

    kl: Gate
    delta_nll: Gate
    top1: Gate
    worst: Gate
    sentence: str


def logit_drift(reference: FloatArray, mode: FloatArray, ids: Sequence[int]) -> LogitDrift | NotScored:
    """Drift of `mode` from `reference`; both (n, vocabulary) log-probabilities of what follows ids[: i + 1].

    Args:
        reference: Natural logs, each row sums to 1 after exp.
        mode: The same shape; a shorter vocabulary (padding) is compared on the shared part.
        ids: The n + 1 forced ids: row i predicts ids[i + 1].
    """
    n = min(len(reference), len(mode), len(ids) - 1)
    if n < 1:
        return NotScored(Reason.NOT_ENOUGH_DATA, "the forced text has fewer than 2 tokens")
    width = min(reference.shape[1], mode.shape[1])
    first = reference[:n, :width].astype(np.float64)
    second = mode[:n, :width].astype(np.float64)
    if not (_usable(first) and _usable(second)):
        return NotScored(Reason.FAILED, "NaN or +Inf among the log-probabilities")
    each = _kl(first, second)
    targets = np.asarray(ids[1 : n + 1])
    rows = np.arange(n)
    nll = first[rows, targets] - second[rows, targets]
    return LogitDrift(
        kl=float(each.mean()),
        kl_p95=float(np.quantile(each, 0.95)),
        delta_nll=float(nll.mean()),
        top1=float((first.argmax(axis=1) == second.argmax(axis=1)).mean()),
        tokens=n,
    )


def _usable(logs: npt.NDArray[np.float64]) -> bool:
    return not bool(np.isnan(logs).any() or np.isposinf(logs).any())


def _kl(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Shape (n,), each >= 0; tokens that the reference rules out add nothing."""
    weights = np.exp(first)
    with np.errstate(invalid="ignore"):
        terms = np.where(weights > 0.0, weights * (first - second), 0.0)
    found: npt.NDArray[np.float64] = np.maximum(terms.sum(axis=1), 0.0)
    return found


def pooled(parts: Sequence[LogitDrift | NotScored]) -> LogitDrift | NotScored:
    """One drift over several texts, weighted by their tokens; `kl_p95` is the largest of the texts'."""
    found = [part for part in parts if isinstance(part, LogitDrift)]
    if not found:
        return next(
            (part for part in parts if isinstance(part, NotScored)),
            NotScored(Reason.NOT_ENOUGH_DATA, "no forced text"),
        )
    total = sum(part.tokens for part in found)

    def mean(name: str) -> float:
        return float(sum(getattr(part, name) * part.tokens for part in found)) / total

    return LogitDrift(mean("kl"), max(p.kl_p95 for p in found), mean("delta_nll"), mean("top1"), total)


def logit_gates(drift: LogitDrift, floor: LogitDrift) -> LogitGates:
    """Each number against its limits; one that is not above 3 × the same-mode floor passes."""
    kl = _upper(drift.kl, floor.kl, KL_LIMITS)
    nll = _upper(drift.delta_nll, abs(floor.delta_nll), NLL_LIMITS)
    miss, floor_miss = 1.0 - drift.top1, 1.0 - floor.top1
    top1 = _upper(miss, floor_miss, (1.0 - TOP1_LIMITS[0], 1.0 - TOP1_LIMITS[1]))
    order = (Gate.PASS, Gate.REVIEW, Gate.FAIL)
    worst = max((kl, nll, top1), key=order.index)
    sentence = (
        f"KL {drift.kl:.4f} nats (floor {floor.kl:.4f}), NLL {drift.delta_nll:+.4f} a token "
        f"(floor {floor.delta_nll:+.4f}), same likeliest token in {drift.top1:.1%} "
        f"(floor {floor.top1:.1%}) of {drift.tokens} positions."
    )
    return LogitGates(kl, nll, top1, worst, sentence)


def _upper(value: float, floor: float, limits: tuple[float, float]) -> Gate:
    slack = 1e-9  # 1 - 0.90 is not 0.1
    if value <= FLOOR_FACTOR * floor or value <= limits[0] + slack:
        return Gate.PASS
    return Gate.REVIEW if value <= limits[1] + slack else Gate.FAIL
