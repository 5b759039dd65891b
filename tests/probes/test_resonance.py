"""E_resonance: rolling mean, slope with its interval, flatness; equivalence of two modes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.probes.measures.equivalence import (
    Interval,
    Outcome,
    drift_against,
    equivalence,
    mean_interval,
)
from exllama_guard.probes.measures.resonance import Trend, resonance_trend, rolling_mean
from hypothesis import given
from hypothesis import strategies as st

GAP = NotScored(Reason.NO_SNIPPETS)


def test_rolling_mean_passes_over_gaps():
    assert rolling_mean([0.2, GAP, 0.4, 0.6], window=2) == pytest.approx([0.2, 0.2, 0.3, 0.5])
    assert isinstance(rolling_mean([GAP])[0], NotScored)


def test_a_line_has_its_slope_and_no_width():
    trend = resonance_trend([0.2 + 0.01 * i for i in range(20)])
    assert isinstance(trend, Trend)
    assert trend.slope == pytest.approx(0.01)
    assert (trend.low, trend.high) == (pytest.approx(0.01), pytest.approx(0.01))
    assert trend.total == pytest.approx(0.15)  # 16 means of 5, 15 steps
    assert trend.gate is Gate.FAIL


def test_a_constant_series_is_flat_and_a_fall_is_no_failure():
    assert resonance_trend([0.3] * 12).gate is Gate.PASS
    assert resonance_trend([0.6 - 0.01 * i for i in range(20)]).gate is Gate.REVIEW


def test_a_small_but_sure_rise_is_flat_by_its_size():
    assert resonance_trend([0.3 + 0.001 * i for i in range(20)]).gate is Gate.PASS


def test_seven_turns_are_too_few():
    found = resonance_trend([0.3] * 7)
    assert isinstance(found, NotScored)
    assert str(found) == "not measured: not enough data (a slope needs 8 turns, there are 7 so far)"
    assert resonance_trend([0.3]).detail.endswith("there is 1 so far")


def test_noise_is_rarely_called_a_rise():
    draw = np.random.default_rng(1)
    failed = sum(resonance_trend(list(draw.normal(0.4, 0.1, 40))).gate is Gate.FAIL for _ in range(60))
    assert (
        failed <= 9
    )  # one-sided 2.5 % nominal; blocks of 36 points are optimistic (docs/decisions/statistics.md)


def test_a_strong_drift_under_noise_is_found():
    draw = np.random.default_rng(2)
    found = sum(
        resonance_trend(list(draw.normal(0.3, 0.05, 40) + np.linspace(0, 0.3, 40))).gate is Gate.FAIL
        for _ in range(20)
    )
    assert found == 20


@given(st.lists(st.floats(0, 2), min_size=8, max_size=30))
def test_the_slope_lies_in_its_interval_and_a_mirrored_series_mirrors_it(values):
    trend = resonance_trend(values)
    assert trend.low <= trend.slope <= trend.high
    assert resonance_trend(values[::-1]).slope == pytest.approx(-trend.slope, abs=1e-9)


# --- equivalence ----------------------------------------------------------------------------------------


def shifted(by: float, noise: float, n: int = 20):
    draw = np.random.default_rng(3)
    reference = list(draw.uniform(0.2, 0.6, n))
    moved = draw.normal(0, 1, n)
    moved = (moved - moved.mean()) / moved.std() * noise + by
    return reference, [a + d for a, d in zip(reference, moved, strict=True)]


def test_the_same_values_are_flat():
    found = equivalence([0.3] * 6, [0.3] * 6)
    assert (found.outcome, found.gate, found.more_items) == (Outcome.FLAT, Gate.PASS, 0)
    assert found.interval == Interval(0.0, 0.0, 0.0, 0.90, 6)


@pytest.mark.parametrize(
    ("by", "noise", "outcome"),
    [
        (0.0, 0.02, Outcome.FLAT),
        (0.03, 0.02, Outcome.NEARLY_FLAT),
        (0.15, 0.03, Outcome.NOT_FLAT),
        (-0.15, 0.03, Outcome.NOT_FLAT),
        (0.0, 0.30, Outcome.INCONCLUSIVE),
    ],
)
def test_outcomes(by, noise, outcome):
    assert equivalence(*shifted(by, noise)).outcome is outcome


def test_inconclusive_says_how_many_more_items_would_do():
    found = equivalence(*shifted(0.0, 0.20))
    half = (found.interval.high - found.interval.low) / 2
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.more_items == pytest.approx(20 * (half / 0.02) ** 2 - 20, abs=1.5)
    told = re.search(r"about ([\d,]+) more items", found.sentence)[1].replace(",", "")
    assert int(told) == pytest.approx(found.more_items, rel=0.05)
    assert len(told.rstrip("0")) <= 2  # an estimate has no more digits than that
    assert found.gate is Gate.NOT_MEASURED
    many = equivalence(*shifted(0.0, 0.20, 20 + 2 * found.more_items))
    assert many.outcome is not Outcome.INCONCLUSIVE


def test_four_items_decide_nothing():
    found = equivalence([0.3] * 4, [0.3] * 4)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.more_items is None
    assert isinstance(found.interval, NotScored)


def test_items_without_a_value_in_one_mode_are_left_out():
    found = equivalence([0.3] * 6 + [GAP], [0.3] * 5 + [GAP, 0.9])
    assert found.interval.n == 5


def test_the_interval_of_a_known_sample():
    found = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 0.90)
    assert found.mean == 4.5
    # normal theory: 4.5 ± 1.645 * 2.29 / sqrt(8)
    assert found.low == pytest.approx(4.5 - 1.33, abs=0.15)
    assert found.high == pytest.approx(4.5 + 1.33, abs=0.15)


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2)), min_size=5, max_size=12))
def test_swapping_the_modes_mirrors_the_interval(pairs):
    a, b = [list(side) for side in zip(*pairs, strict=True)]
    one, other = equivalence(a, b), equivalence(b, a)
    assert one.interval.mean == pytest.approx(-other.interval.mean, abs=1e-9)
    assert one.interval.low <= one.interval.mean <= one.interval.high


@pytest.mark.parametrize(("by", "gate"), [(0.0, Gate.PASS), (0.3, Gate.FAIL), (0.10, Gate.REVIEW)])
def test_drift_bound(by, gate):
    assert drift_against(*shifted(by, 0.05)).gate is gate
