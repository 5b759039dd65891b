"""Counting, rotation and drift of a loaded model, with a model that a person can predict."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from exllama_guard.core.backend import Capabilities
from exllama_guard.core.measures import NotScored
from exllama_guard.errors import BackendError
from exllama_guard.lifecycle.drift import CANARY_PROMPT, measure_drift, steps_up_to
from exllama_guard.lifecycle.kv_cache import Action, Cause
from exllama_guard.lifecycle.path import BackendPath
from exllama_guard.testing import FakeBackend
from lifecycle.world import Host, Model, World, loaded


@pytest.fixture
def model():
    return Model()


def _ready(model, **kwargs):
    world = World(**kwargs)
    world.lifecycle.model_changed(loaded(model))
    world.settle()
    world.told.events.clear()
    return world


def test_replies_are_counted_and_the_cache_is_reset_at_the_limit(model):
    world = _ready(model, rotation_tokens=100)
    world.lifecycle.reply_ended("p" * 60, "r" * 20, 0.06)
    world.settle()
    assert world.lifecycle.snapshot().cache.tokens_since_reset == 80
    assert world.backend.resets == 0
    world.lifecycle.reply_ended("p" * 60 + "r" * 20 + "q" * 10, "s" * 10, 0.01)
    world.settle()
    cache = world.lifecycle.snapshot().cache
    assert world.backend.resets == 1
    assert cache.tokens_since_reset == 0
    assert cache.last_rotation.decision.cause is Cause.LIMIT
    assert cache.last_rotation.tokens == 100
    assert cache.last_rotation.next_prefill_tokens == 100
    assert cache.last_rotation.next_prefill_s == pytest.approx(0.1)  # 10 tokens took 0.01 s
    assert "100 tokens anew, 0.10 s" in world.told.text()


def test_rotation_waits_until_the_answer_is_written(model, monkeypatch):
    monkeypatch.setattr("exllama_guard.lifecycle.rotation._IDLE_WAIT_S", 0.05)
    world = _ready(model, rotation_tokens=10)
    with world.host.lock:
        world.lifecycle.reply_ended("p" * 60, "r", None)
        world.settle()
        assert world.backend.resets == 0
    world.lifecycle.reply_ended("p", "r", None)
    world.settle()
    assert world.backend.resets == 1


def test_a_cache_that_stays_busy_is_told_of_once_and_reset_when_it_is_free(model, monkeypatch):
    """Parallel requests hold no lock of the host's: the loader itself refuses while one is written."""
    world = _ready(model, rotation_tokens=10)
    free = world.backend.reset_cache

    def busy():
        raise BackendError("1 slots are busy and 0 may be; wait until the answers are written.")

    world.backend.reset_cache = busy
    for _ in range(4):
        world.lifecycle.reply_ended("p" * 60, "r", None)
        world.settle()
    assert [text for kind, text in world.told.events if kind == "cache"] == [
        "RESET of the cache after 61 tokens (token limit reached) was not possible: "
        "1 slots are busy and 0 may be; wait until the answers are written."
    ]
    world.backend.reset_cache = free
    world.lifecycle.reply_ended("p" * 60, "r", None)
    world.settle()
    assert world.backend.resets == 1
    assert world.lifecycle.snapshot().cache.last_rotation.failure == ""


def test_rotation_switched_off_only_counts(model):
    world = _ready(model, rotation_tokens=10, rotation=False)
    world.lifecycle.reply_ended("p" * 60, "r", None)
    world.settle()
    assert world.backend.resets == 0
    assert world.lifecycle.snapshot().cache.tokens_since_reset == 61


def test_bad_logits_reset_the_cache_after_the_answer_even_when_rotation_is_off(model):
    world = _ready(model, rotation=False)
    world.lifecycle.saw_bad_logits()
    assert "NaN or Inf" in world.told.problems["bad logits"]
    assert world.backend.resets == 0
    world.lifecycle.reply_ended("p", "r", None)
    world.settle()
    assert world.backend.resets == 1
    assert world.lifecycle.snapshot().cache.last_rotation.decision.cause is Cause.BAD_LOGITS


def test_a_person_may_reset_at_any_time_and_hears_when_it_is_not_possible(model):
    world = _ready(model)
    assert world.lifecycle.upkeep.rotate(asked=True).decision.action is Action.RESET
    cannot = _ready(model, backend=FakeBackend(capabilities=Capabilities("none")))
    assert "does not offer" in cannot.lifecycle.upkeep.rotate(asked=True).sentence()
    assert World().lifecycle.upkeep.rotate(asked=True) is None


def test_a_tokenizer_that_is_missing_is_told_and_counting_goes_on_when_it_is_there(model):
    world = _ready(model)
    world.backend.error = BackendError("m has no tokenizer; put tokenizer.json beside its weights.")
    world.lifecycle.reply_ended("abc", "d", None)
    world.settle()
    assert "no tokenizer" in world.told.problems["counting"]
    world.backend.error = None
    world.lifecycle.reply_ended("abc", "d", None)
    world.settle()
    assert world.lifecycle.snapshot().cache.tokens_since_reset == 4
    assert "counting" not in world.told.problems


def test_a_new_load_starts_at_nothing(model):
    world = _ready(model)
    world.lifecycle.reply_ended("abc", "d", None)
    world.settle()
    other = Model()
    world.lifecycle.model_changed(loaded(other))
    assert world.lifecycle.snapshot().cache.tokens_since_reset == 0
    world.settle()


def test_drift_of_a_cache_that_goes_wrong_is_found_between_two_tested_lengths():
    backend = FakeBackend(drifts_after_tokens=1000)
    seen = []
    report = measure_drift(
        BackendPath(backend), backend, 2048, progress=lambda share, text: seen.append(share)
    )
    assert report.floor == 0.0
    assert 1000 <= report.numeric_at_tokens <= 2048
    assert report.points[0].distance == 0.0
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_a_sound_cache_has_no_drift_up_to_the_tested_maximum():
    backend = FakeBackend()
    report = measure_drift(BackendPath(backend), backend, 600, turns=[(0.2, t) for t in range(8)])
    assert report.numeric_at_tokens is None
    assert report.context_at_tokens is None
    assert report.tested_tokens >= 600
    assert "none up to" in report.sentences()[0]


def test_a_measurement_can_be_cancelled_and_says_that_it_was(model):
    world = _ready(model, backend=FakeBackend(), host=Host(ttfts=(0.05,)))
    assert world.lifecycle.upkeep.start_drift(1 << 20)
    assert not world.lifecycle.upkeep.start_drift(512)  # one at a time
    time.sleep(0.2)
    world.lifecycle.upkeep.cancel_drift()
    world.settle()
    cache = world.lifecycle.snapshot().cache
    assert cache.drift.stopped
    assert cache.drift_progress is None


def test_a_model_that_now_and_then_writes_something_else_has_not_drifted():
    """Seen with ExLlamaV2: its kernels add in no fixed order."""
    backend = FakeBackend()

    class Noisy(BackendPath):
        canaries = 0

        def run(self, prompt, n_tokens, cancel):
            made = super().run(prompt, n_tokens, cancel)
            self.canaries += prompt == CANARY_PROMPT
            rare = prompt == CANARY_PROMPT and self.canaries % 3 == 2
            return replace(made, text="something else") if rare else made

    report = measure_drift(Noisy(backend), backend, 600)
    assert report.floor > 0.0
    assert "already differ in up to 100% of their tokens" in report.sentences()[-1]
    assert len(report.points) == 3
    assert report.numeric_at_tokens is None
    drifting = FakeBackend(drifts_after_tokens=300)
    assert measure_drift(Noisy(drifting), drifting, 600).points[-1].distance > 0.0


def test_cancelled_inside_a_comparison_it_reports_no_drift():
    """A broken-off text is shorter than the whole one: the real WebUI told of drift from 279 tokens on."""
    backend, cancel, runs = FakeBackend(), threading.Event(), []

    class CancelledInTheWarmCanary(BackendPath):
        def run(self, prompt, n_tokens, cancel):
            runs.append(prompt)
            if prompt == CANARY_PROMPT and runs.count(prompt) == 5:  # after the cold ones
                cancel.set()
            return super().run(prompt, n_tokens, cancel)

    report = measure_drift(CancelledInTheWarmCanary(backend), backend, 4096, cancel=cancel)
    assert report.stopped
    assert report.points == ()
    assert isinstance(report.numeric_at_tokens, NotScored)
    assert "stopped" in report.sentences()[-1]


@pytest.mark.parametrize("tokens", [0, -1, 255])
def test_too_short_a_measurement_is_refused_with_the_numbers(tokens):
    with pytest.raises(BackendError, match=rf"{tokens} tokens .* 256"):
        steps_up_to(tokens)


def test_a_model_that_goes_away_during_a_measurement_is_told(model):
    world = _ready(model)
    world.backend.error = BackendError("m was unloaded; load a model on the Model page.")
    assert world.lifecycle.upkeep.start_drift(512)
    world.settle()
    assert "unloaded" in world.told.problems["drift"]
    assert world.lifecycle.snapshot().cache.drift_progress is None
