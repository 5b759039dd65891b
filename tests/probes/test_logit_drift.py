"""KL, NLL and top-1 agreement of two modes on hand-made distributions."""

from __future__ import annotations

import numpy as np
import pytest
from exllama_guard.core.measures import Gate, NotScored
from exllama_guard.probes.measures.logit_drift import LogitDrift, logit_drift, logit_gates, pooled
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


def logs(*rows):
    return np.log(np.array(rows, dtype=np.float32))


def test_hand_computed():
    found = logit_drift(logs([0.5, 0.5], [0.9, 0.1]), logs([0.25, 0.75], [0.9, 0.1]), [0, 1, 0])
    # row 1: 0.5 ln 2 + 0.5 ln(2/3) = 0.143841; row 2: 0
    assert found.kl == pytest.approx(0.143841 / 2, abs=1e-5)
    # NLL: ln .5 - ln .75 = -0.405465 for row 1, 0 for row 2
    assert found.delta_nll == pytest.approx(-0.405465 / 2, abs=1e-5)
    assert found.tokens == 2


def test_top1_counts_positions():
    assert logit_drift(logs([0.6, 0.4], [0.6, 0.4]), logs([0.4, 0.6], [0.7, 0.3]), [0, 0, 0]).top1 == 0.5


def test_a_token_that_the_reference_rules_out_adds_nothing():
    with np.errstate(divide="ignore"):
        found = logit_drift(logs([1.0, 0.0]), logs([0.5, 0.5]), [0, 0])
    assert found.kl == pytest.approx(np.log(2), abs=1e-6)


def test_padding_of_the_vocabulary_is_left_out():
    assert logit_drift(logs([0.5, 0.5]), logs([0.5, 0.5, 1e-9]), [0, 1]).kl == pytest.approx(0, abs=1e-6)


def test_nan_and_short_text_are_not_scored():
    assert isinstance(logit_drift(logs([np.nan, 0.5]), logs([0.5, 0.5]), [0, 1]), NotScored)
    assert isinstance(logit_drift(logs([0.5, 0.5])[:0], logs([0.5, 0.5])[:0], [0]), NotScored)
    assert isinstance(pooled([]), NotScored)


def test_pooling_weighs_by_tokens():
    found = pooled([LogitDrift(0.1, 0.2, 0.0, 1.0, 10), LogitDrift(0.4, 0.3, 0.3, 0.5, 30)])
    assert (found.kl, found.kl_p95, found.top1, found.tokens) == (
        pytest.approx(0.325),
        0.3,
        pytest.approx(0.625),
        40,
    )


NOTHING = LogitDrift(0.0, 0.0, 0.0, 1.0, 100)


@pytest.mark.parametrize(
    ("drift", "floor", "worst"),
    [
        (LogitDrift(0.05, 0, 0.02, 0.90, 100), NOTHING, Gate.PASS),
        (LogitDrift(0.051, 0, 0.0, 1.0, 100), NOTHING, Gate.REVIEW),
        (LogitDrift(0.2, 0, 0.0, 1.0, 100), NOTHING, Gate.FAIL),
        (LogitDrift(0.2, 0, 0.0, 1.0, 100), LogitDrift(0.07, 0, 0, 1.0, 100), Gate.PASS),
        (LogitDrift(0.0, 0, 0.06, 1.0, 100), NOTHING, Gate.FAIL),
        (LogitDrift(0.0, 0, -0.5, 1.0, 100), NOTHING, Gate.PASS),
        (LogitDrift(0.0, 0, 0.0, 0.85, 100), NOTHING, Gate.REVIEW),
    ],
)
def test_gates_against_limits_and_floor(drift, floor, worst):
    assert logit_gates(drift, floor).worst is worst


@given(
    arrays(np.float64, (4, 6), elements=st.floats(-8, 8)),
    arrays(np.float64, (4, 6), elements=st.floats(-8, 8)),
)
def test_kl_is_never_negative_and_zero_to_itself(a, b):
    a = (a - np.log(np.exp(a).sum(1, keepdims=True))).astype(np.float32)
    b = (b - np.log(np.exp(b).sum(1, keepdims=True))).astype(np.float32)
    ids = [0, 1, 2, 3, 4]
    assert logit_drift(a, b, ids).kl >= 0
    same = logit_drift(a, a, ids)
    assert (same.kl, same.delta_nll, same.top1) == (0.0, 0.0, 1.0)
