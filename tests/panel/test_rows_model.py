"""The model card's rows say what is known, and what is not."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from exllama_guard.core.backend import Capabilities
from exllama_guard.lifecycle import LifecycleSnapshot
from exllama_guard.lifecycle.canary import CanaryFinding
from exllama_guard.lifecycle.fence import FenceState, run_fence
from exllama_guard.lifecycle.kv_cache import Action, Cause, Decision, DriftReport
from exllama_guard.lifecycle.path import BackendPath
from exllama_guard.lifecycle.rotation import Rotated
from exllama_guard.lifecycle.upkeep import UpkeepSnapshot
from exllama_guard.panel.model.rows import model_rows
from exllama_guard.testing import FakeBackend


@pytest.fixture(scope="module")
def snapshot():
    backend = FakeBackend(token_s=0.001)
    report = run_fence(BackendPath(backend), backend.count_tokens, limit_s=10, cancel=threading.Event())
    return LifecycleSnapshot(
        state=report.state,
        name="small",
        loader="fake",
        card=backend.card(),
        capabilities=backend.capabilities,
        report=report,
        canary=CanaryFinding(False, ("torch 2.10 → 2.11",)),
        rotation_tokens=8192,
        last_wait_s=1.5,
        cache=UpkeepSnapshot(
            tokens_since_reset=2048,
            last_rotation=Rotated(Decision(Action.RESET, Cause.LIMIT), 8200, 500, 0.25),
            drift=DriftReport(4096, 0.0, (), 1024, None),
        ),
    )


def _values(rows):
    return {row.name: row.value for row in rows}


def test_a_card_tells_loader_weights_cache_devices_and_context(snapshot):
    facts = _values(model_rows(snapshot).facts)
    assert facts["Loader"] == "fake"
    assert facts["Devices"] == "1 × cpu"
    assert facts["Context"] == "4096 tokens"
    assert facts["Model hash"] == "0" * 12


def test_speed_and_canary_are_told_with_what_changed(snapshot):
    rows = model_rows(snapshot)
    speed = _values(rows.speed)
    assert speed["First token, cold"].endswith(" s")
    assert speed["Last request waited"] == "1.500 s"
    assert speed["Canary"] == "changed"
    assert "torch 2.10 → 2.11" in next(row.explanation for row in rows.speed if row.name == "Canary")


def test_tokens_since_the_reset_are_a_share_of_the_limit(snapshot):
    rows = model_rows(snapshot)
    assert rows.cache_bar.share == 0.25
    assert "2048 of 8192" in rows.cache_bar.text
    assert _values(rows.cache)["Last rotation"] == "RESET"
    assert _values(rows.cache)["Numeric drift"] == "from 1024 tokens on"
    assert _values(rows.cache)["Context drift"].startswith("none up to 4096 tokens")
    assert "numeric drift only" in _values(rows.cache)["What a reset cures"]


@pytest.mark.parametrize("tokens", [8192, 100_000])
def test_the_bar_never_leaves_its_frame(snapshot, tokens):
    full = replace(snapshot, cache=UpkeepSnapshot(tokens_since_reset=tokens))
    assert model_rows(full).cache_bar.share == 1.0


def test_a_bar_that_cannot_fill_says_why(snapshot):
    assert "off" in model_rows(replace(snapshot, rotation_on=False)).cache_bar.text
    cannot = replace(snapshot, capabilities=Capabilities("none"))
    assert model_rows(cannot).cache_bar.share is None
    assert "not rotated" in model_rows(cannot).cache_bar.text


@pytest.mark.parametrize("state", list(FenceState))
def test_every_state_has_a_word_a_tone_and_a_sentence(state):
    rows = model_rows(LifecycleSnapshot(state))
    assert rows.state
    assert rows.tone in {"pass", "review", "fail", "none"}
    assert rows.status.endswith(".")


def test_waiting_requests_are_counted_while_the_model_is_warmed_up():
    rows = model_rows(LifecycleSnapshot(FenceState.WARMING, name="m", requests_waiting=2))
    assert "2 waiting" in rows.status


def test_a_running_measurement_shows_how_far_it_is(snapshot):
    running = replace(snapshot, cache=UpkeepSnapshot(drift_progress=0.5, drift_text="filling"))
    assert model_rows(running).drift_bar.share == 0.5
    assert model_rows(snapshot).drift_bar is None
