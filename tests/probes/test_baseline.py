"""The baseline of a model's reading: its divergence, its store, and what becomes of a bad file."""

from __future__ import annotations

import math

import numpy as np
import pytest
from exllama_guard.core.measures import NotScored
from exllama_guard.errors import TraceError
from exllama_guard.probes.doctor.baseline import Baseline, BaselineStore, drift_from, reading_floor
from hypothesis import given
from hypothesis import strategies as st

LOGS = st.lists(st.floats(-20.0, -1e-6), min_size=1, max_size=30)
KEPT = Baseline("m", "Transformers", "s", "i", (-0.5, -1.0, -2.0), 0.0, 1.0)


@given(LOGS)
def test_a_reading_is_no_distance_from_itself(values):
    assert reading_floor(np.array(values), np.array(values)) == 0.0


@given(st.lists(st.tuples(st.floats(-20.0, -1e-6), st.floats(-20.0, -1e-6)), min_size=1, max_size=30))
def test_it_is_never_negative_and_never_nan(pairs):
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    assert 0.0 <= reading_floor(first, second) < math.inf


def test_it_is_the_divergence_of_two_coins():
    # KL((1/2, 1/2) ‖ (1/4, 3/4)) = ln 2 / 2 + ln(2/3) / 2
    wanted = 0.5 * math.log(2.0) + 0.5 * math.log(2.0 / 3.0)
    assert reading_floor(np.log([0.5]), np.log([0.25])) == pytest.approx(wanted)


def test_it_never_exceeds_the_whole_divergence():
    draw = np.random.default_rng(0)
    for _ in range(50):
        p, q = draw.dirichlet(np.ones(8), 2)
        whole = float((p * np.log(p / q)).sum())
        assert reading_floor(np.log(p[:1]), np.log(q[:1])) <= whole + 1e-9


def test_drift_is_told_in_nats_a_token():
    drift = drift_from(KEPT, np.array([-0.5, -1.0, -2.3], dtype=np.float32), "i")
    assert drift.delta_nll == pytest.approx(0.1, abs=1e-6)
    assert drift.top1 == pytest.approx(2 / 3)
    assert drift.kl > 0.0


def test_another_tokenizer_has_no_drift():
    assert isinstance(drift_from(KEPT, np.array([-0.5, -1.0, -2.0]), "other"), NotScored)
    assert isinstance(drift_from(KEPT, np.array([-0.5, -1.0]), "i"), NotScored)


def test_it_is_kept_for_its_owner_only(tmp_path):
    store = BaselineStore(tmp_path / "deep" / "b.json")
    assert store.get("m", "Transformers") is None
    store.keep(KEPT)
    assert BaselineStore(tmp_path / "deep" / "b.json").get("m", "Transformers") == KEPT
    assert store.get("m", "llama.cpp") is None
    assert (tmp_path / "deep" / "b.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "[]", '{"baselines": [{"logprobs": ["x"]}]}', '{"baselines": 3}'])
def test_an_unreadable_file_counts_as_none(tmp_path, text):
    (tmp_path / "b.json").write_text(text)
    store = BaselineStore(tmp_path / "b.json")
    assert store.get("m", "Transformers") is None
    store.keep(KEPT)
    assert store.get("m", "Transformers") == KEPT


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TraceError, match="make the folder writable"):
        BaselineStore(tmp_path / "file" / "b.json").keep(KEPT)
