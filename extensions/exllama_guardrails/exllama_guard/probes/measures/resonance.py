"""E_resonance: the rolling mean of answer-side ΔS, and whether it stays flat over a long run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exllama_guard.core.measures import Gate, Measure, NotScored, Reason
from exllama_guard.core.turns import Distances, TurnReport

__all__ = ["Trend", "answer_side", "answer_side_of", "resonance_trend", "rolling_mean"]

FLAT, NEARLY_FLAT = 0.02, 0.05  # total change of E_resonance over the window: docs/probes.md
LEAST_TURNS = 8  # below, an interval of a slope of 5-turn means says nothing
MOST_TURNS = 100  # the last ones count; the pairs of more take seconds
_RESAMPLES = 300
_BLOCK = 2  # turns; a turn's ΔS may lean on the one before


@dataclass(frozen=True, slots=True)
class Trend:
    """Theil–Sen slope of E_resonance by turn, with the 95 % interval of a moving-block bootstrap."""

    slope: float  # change of E_resonance a turn
    low: float
    high: float
    total: float  # slope times the steps of the window
    turns: int
    gate: Gate  # PASS flat, REVIEW nearly flat or falling, FAIL rising

    def sentence(self) -> str:
        """What was seen, with its numbers."""
        word = {Gate.PASS: "flat", Gate.REVIEW: "not quite flat"}.get(self.gate, "rising")
        return (
            f"E_resonance is {word} over {self.turns} turns: {self.slope:+.4f} a turn "
            f"(95 % interval {self.low:+.4f} to {self.high:+.4f}), {self.total:+.3f} in all."
        )


def rolling_mean(values: Sequence[Measure], window: int = 5) -> list[Measure]:
    """Mean of the last `window` scored values up to each place; turns without a value are passed over."""
    seen: list[float] = []
    out: list[Measure] = []
    for value in values:
        if not isinstance(value, NotScored):
            seen.append(value)
        last = seen[-window:]
        out.append(sum(last) / len(last) if last else NotScored(Reason.NOT_ENOUGH_DATA))
    return out


def answer_side_of(distances: Distances) -> Measure:
    """Answer-side ΔS, [0, 2]: to the anchor where there is one, else to the nearest snippet."""
    anchor = distances.answer_anchor
    return distances.answer_context.min if isinstance(anchor, NotScored) else anchor


def answer_side(turn: TurnReport) -> Measure:
    """Answer-side ΔS of a turn, [0, 2]."""
    return answer_side_of(turn.distances)


def resonance_trend(values: Sequence[Measure], window: int = 5) -> Trend | NotScored:
    """Whether the rolling mean of `values` (answer-side ΔS, oldest first) stays flat.

    Flat where the interval of the slope holds 0 or the total change is at most 0.02; a rise above 0.05 fails.
    Neighbouring means share values, so the interval comes from the turns themselves: their residuals are
    resampled (in short blocks, Künsch 1989), averaged anew and fitted anew.
    """
    scored = [value for value in values if not isinstance(value, NotScored)][-MOST_TURNS:]
    if len(scored) < LEAST_TURNS:
        there = f"there {'is' if len(scored) == 1 else 'are'} {len(scored)} so far"
        return NotScored(Reason.NOT_ENOUGH_DATA, f"a slope needs {LEAST_TURNS} turns, {there}")
    window = min(window, len(scored))
    series = _averaged(np.asarray(scored, dtype=np.float64), window)
    slope, low, high = _slope(np.asarray(scored, dtype=np.float64), series, window)
    total = slope * (len(series) - 1)
    return Trend(slope, low, high, total, len(scored), _flatness(total, low, high))


def _flatness(total: float, low: float, high: float) -> Gate:
    if low <= 0.0 <= high or abs(total) <= FLAT:
        return Gate.PASS
    return Gate.REVIEW if total <= NEARLY_FLAT else Gate.FAIL  # a fall is no fault, but it is not flat


def _averaged(values: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """Means of `window` neighbours along the last axis, `window` - 1 fewer than there are values."""
    sums = np.cumsum(np.insert(values, 0, 0.0, axis=-1), axis=-1)
    means: npt.NDArray[np.float64] = (sums[..., window:] - sums[..., :-window]) / window
    return means


def _slope(
    values: npt.NDArray[np.float64], series: npt.NDArray[np.float64], window: int
) -> tuple[float, float, float]:
    """Slope of `series` a step and its 95 % interval, the slope always inside it."""
    first, second = np.triu_indices(len(series), k=1)
    steps = second - first
    slope = float(np.median((series[second] - series[first]) / steps))
    residuals = values - slope * np.arange(len(values))
    resampled = _averaged(_blocks(residuals - residuals.mean()), window)
    slopes = np.median((resampled[:, second] - resampled[:, first]) / steps, axis=1)
    low, high = np.quantile(slopes, [0.025, 0.975])
    return slope, slope + min(float(low), 0.0), slope + max(float(high), 0.0)


def _blocks(residuals: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Shape (resamples, n): residuals put together anew from circular blocks; always the same draw."""
    n = len(residuals)
    draw = np.random.default_rng(0)
    starts = draw.integers(0, n, size=(_RESAMPLES, -(-n // _BLOCK)))
    places = (starts[:, :, None] + np.arange(_BLOCK)) % n
    picked: npt.NDArray[np.float64] = residuals[places.reshape(_RESAMPLES, -1)[:, :n]]
    return picked
