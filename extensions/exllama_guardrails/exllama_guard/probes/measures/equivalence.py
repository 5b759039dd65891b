"""Is one mode as good as another: the paired difference, its bootstrap interval, and what would decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from exllama_guard.core.measures import Gate, Measure, NotScored, Reason

__all__ = ["Drift", "Equivalence", "Interval", "Outcome", "drift_against", "equivalence", "mean_interval"]

FLAT, NEARLY_FLAT = 0.02, 0.05  # bands of the mean paired difference of ΔS: docs/probes.md
DRIFT_BOUND = 0.10  # against the reference: the ExLlamaV2 page of the seed study
LEAST_ITEMS = 5  # a bootstrap of fewer repeats a handful of values
_RESAMPLES = 9999


class Outcome(str, Enum):
    """Result of an equivalence test."""

    FLAT = "flat"
    NEARLY_FLAT = "nearly flat"
    NOT_FLAT = "not flat"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its bootstrap interval at `level`; low <= mean <= high."""

    mean: float
    low: float
    high: float
    level: float
    n: int


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Outcome of the test. `more_items`: how many more would decide it; 0 decided, None: cannot be told."""

    outcome: Outcome
    gate: Gate
    interval: Interval | NotScored
    more_items: int | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Drift:
    """|mean difference| against the drift bound, decided by the 95 % interval."""

    gate: Gate
    interval: Interval | NotScored
    sentence: str


def mean_interval(values: Sequence[float], level: float) -> Interval | NotScored:
    """Mean and bias-corrected bootstrap interval (Efron 1987, by scipy) of at least 5 values, fixed seed."""
    n = len(values)
    if n < LEAST_ITEMS:
        return NotScored(Reason.NOT_ENOUGH_DATA, f"{n} items; at least {LEAST_ITEMS} are needed")
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if float(np.ptp(array)) <= 1e-12:
        return Interval(mean, mean, mean, level, n)
    from scipy.stats import bootstrap

    found = bootstrap(
        (array,), np.mean, confidence_level=level, n_resamples=_RESAMPLES, batch=2000, method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return Interval(mean, min(float(found.low), mean), max(float(found.high), mean), level, n)


def paired(reference: Sequence[Measure], mode: Sequence[Measure]) -> list[float]:
    """Differences, mode - reference, of the items that both modes have a value for."""
    return [
        b - a
        for a, b in zip(reference, mode, strict=True)
        if not isinstance(a, NotScored) and not isinstance(b, NotScored)
    ]


def equivalence(reference: Sequence[Measure], mode: Sequence[Measure]) -> Equivalence:
    """Whether answer-side ΔS of `mode` equals that of `reference`, item by item.

    Two one-sided tests at 5 % as one 90 % interval (Schuirmann 1987): inside ±0.02 flat, inside ±0.05 nearly;
    wholly outside ±0.02 not flat; else the data do not suffice, which is never a pass.
    """
    interval = mean_interval(paired(reference, mode), 0.90)
    if isinstance(interval, NotScored):
        why = f"INCONCLUSIVE: {interval.detail}."
        return Equivalence(Outcome.INCONCLUSIVE, Gate.NOT_MEASURED, interval, None, why)
    outcome = _outcome(interval)
    more = 0 if outcome is not Outcome.INCONCLUSIVE else _more_items(interval)
    gate = {Outcome.FLAT: Gate.PASS, Outcome.NEARLY_FLAT: Gate.REVIEW, Outcome.NOT_FLAT: Gate.FAIL}.get(
        outcome, Gate.NOT_MEASURED
    )
    return Equivalence(outcome, gate, interval, more, _sentence(outcome, interval, more))


def _outcome(interval: Interval) -> Outcome:
    if interval.low >= -FLAT and interval.high <= FLAT:
        return Outcome.FLAT
    if interval.low >= -NEARLY_FLAT and interval.high <= NEARLY_FLAT:
        return Outcome.NEARLY_FLAT
    if interval.low > FLAT or interval.high < -FLAT:
        return Outcome.NOT_FLAT
    return Outcome.INCONCLUSIVE


def _more_items(interval: Interval) -> int | None:
    """Items to add until the interval leaves the edge of ±0.02; its width shrinks as 1/√n."""
    half = (interval.high - interval.low) / 2
    gap = abs(FLAT - abs(interval.mean))
    if gap < 1e-6:
        return None
    return max(1, math.ceil(interval.n * (half / gap) ** 2) - interval.n)


def _sentence(outcome: Outcome, interval: Interval, more: int | None) -> str:
    sentence = (
        f"mean difference {interval.mean:+.3f}, 90 % interval {interval.low:+.3f} to {interval.high:+.3f} "
        f"over {interval.n} items"
    )
    if outcome is not Outcome.INCONCLUSIVE:
        band = {Outcome.FLAT: "inside ±0.02", Outcome.NEARLY_FLAT: "inside ±0.05"}.get(
            outcome, "outside ±0.02"
        )
        return f"{outcome.value}: {sentence}, {band}."
    if more is None:
        return f"INCONCLUSIVE: {sentence}; the mean lies on the limit of 0.02, so no number of items will do."
    about = float(f"{more:.1e}") if more > 100 else more  # two digits: it is an estimate
    return f"INCONCLUSIVE: {sentence}; about {about:,.0f} more items like these would decide."


def drift_against(reference: Sequence[Measure], mode: Sequence[Measure]) -> Drift:
    """|mean paired ΔS difference| <= 0.10: PASS or FAIL where the 95 % interval says so, else REVIEW."""
    interval = mean_interval(paired(reference, mode), 0.95)
    if isinstance(interval, NotScored):
        return Drift(Gate.NOT_MEASURED, interval, f"Drift was not measured: {interval.detail}.")
    if interval.low >= -DRIFT_BOUND and interval.high <= DRIFT_BOUND:
        gate = Gate.PASS
    elif interval.low > DRIFT_BOUND or interval.high < -DRIFT_BOUND:
        gate = Gate.FAIL
    else:
        gate = Gate.REVIEW
    return Drift(
        gate,
        interval,
        f"ΔS drift {interval.mean:+.3f} (95 % interval {interval.low:+.3f} to {interval.high:+.3f}) "
        f"against a bound of {DRIFT_BOUND:.2f}.",
    )
