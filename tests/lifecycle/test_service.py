"""A loaded model is warmed up before anybody is answered, with a fake host."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest
from exllama_guard.errors import BackendError
from exllama_guard.lifecycle.fence import FenceState, run_fence
from exllama_guard.lifecycle.path import BackendPath
from exllama_guard.lifecycle.warmup import MAX_RUNS, PROBE_TOKENS, Run
from exllama_guard.settings import from_params
from exllama_guard.testing import FakeBackend
from lifecycle.world import Host, Model, World, loaded


@pytest.fixture
def model():
    return Model()


def test_a_load_is_warmed_up_with_different_prompts_and_ends_warm(model):
    world = World(Host(ttfts=(0.06, 0.01, 0.01, 0.01)))
    world.lifecycle.model_changed(loaded(model))
    world.settle()
    report = world.lifecycle.snapshot().report
    assert world.state() is FenceState.WARM
    assert len(report.runs) == 4
    assert len(set(world.host.prompts[:4])) == 4
    assert world.host.prompts[4] == world.host.prompts[0]  # the canary
    assert report.first_run_ratio > 1.5
    assert report.first_run_differs is False
    assert len(report.digest) == 64
    assert world.cards[0].model_hash == "0" * 64
    assert "warm after 4 runs" in world.told.text()


def test_a_speed_that_never_settles_ends_after_the_most_runs_and_says_so(model):
    world = World(Host(ttfts=(0.001, 0.01, 0.001, 0.01, 0.001)))
    world.lifecycle.model_changed(loaded(model))
    world.settle()
    assert world.state() is FenceState.UNSETTLED
    assert len(world.lifecycle.snapshot().report.runs) == MAX_RUNS


def test_a_request_that_comes_meanwhile_waits_and_is_answered_warm(model):
    world = World(Host(ttfts=(0.2, 0.05, 0.05, 0.05)))
    world.lifecycle.model_changed(loaded(model))
    time.sleep(0.02)
    waited_s = world.lifecycle.before_reply(loaded(model))
    assert world.state() is FenceState.WARM
    assert waited_s > 0.1
    world.settle()
    assert world.lifecycle.snapshot().last_wait_s == waited_s
    assert world.lifecycle.before_reply(loaded(model)) == 0.0


def test_a_request_that_holds_the_hosts_lock_before_the_worker_has_the_warm_up_done_for_it(model):
    """Idle reload: the host loads inside generate_reply and generates at once, with its lock held."""
    world = World()
    with world.host.lock:
        world.lifecycle.before_reply(loaded(model))  # the first that is heard of this load
        assert world.state() is FenceState.WARM
    world.settle()
    assert not world.host.overlapped
    assert sum(kind == "warm-up" for kind, _ in world.told.events) == 1


def test_many_requests_at_once_wait_for_one_warm_up(model):
    world = World(Host(ttfts=(0.05,)))
    waited = []
    threads = [
        threading.Thread(target=lambda: waited.append(world.lifecycle.before_reply(loaded(model))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    world.settle()
    assert len(waited) == 8
    assert all(seconds > 0 for seconds in waited)
    assert not world.host.overlapped
    assert sum(kind == "warm-up" for kind, _ in world.told.events) == 1


def test_after_the_limit_requests_pass_with_a_warning_and_the_probe_ends_at_its_next_token(model):
    world = World(Host(ttfts=(0.01,), token_s=0.5), warmup_limit_s=1.0)
    world.lifecycle.model_changed(loaded(model))
    started_s = time.monotonic()
    world.lifecycle.before_reply(loaded(model))
    assert time.monotonic() - started_s < 3.0
    world.settle()
    assert world.state() is FenceState.LATE
    assert "1 s" in world.told.problems["warm-up"]
    assert not world.host.lock.locked()


def test_a_probe_that_hangs_blocks_nobody_beyond_the_limit(model, monkeypatch):
    monkeypatch.setattr("exllama_guard.lifecycle.service._GRACE_S", 0.2)
    world = World(warmup_limit_s=1.0)
    world.host.hang.clear()
    world.lifecycle.model_changed(loaded(model))
    started_s = time.monotonic()
    while not world.host.prompts:
        time.sleep(0.01)
    assert world.host.lock.acquire(timeout=5)  # what a user's request does
    world.lifecycle.before_reply(loaded(model))
    world.host.lock.release()
    assert 0.9 < time.monotonic() - started_s < 4.0
    assert "hangs" in world.told.problems["warm-up"]
    world.host.hang.set()
    world.settle()
    assert not world.host.lock.locked()


def test_a_failing_warm_up_is_told_and_blocks_nobody(model):
    world = World(Host(error=BackendError("the model wrote nothing; the host's log says why.")))
    world.lifecycle.model_changed(loaded(model))
    world.settle()
    assert world.state() is FenceState.FAILED
    assert "wrote nothing" in world.told.problems["warm-up"]
    assert world.lifecycle.before_reply(loaded(model)) == 0.0


def test_a_fault_in_the_host_opens_the_gate_too(model):
    world = World(Host(error=RuntimeError("CUDA error")))
    world.lifecycle.model_changed(loaded(model))
    for thread in world.threads:
        thread.join(20)
    assert [str(fault) for fault in world.faults] == ["CUDA error"]
    assert world.state() is FenceState.FAILED
    assert world.lifecycle.before_reply(loaded(model)) == 0.0


def test_two_loads_at_once_end_with_the_second_one_warm(model):
    world = World(Host(ttfts=(0.1,)))
    other = Model()
    world.lifecycle.model_changed(loaded(model, "first"))
    time.sleep(0.03)
    world.lifecycle.model_changed(loaded(other, "second"))
    with world.host.lock:  # as a request has it
        world.lifecycle.before_reply(loaded(other, "second"))
    world.settle()
    snapshot = world.lifecycle.snapshot()
    assert (snapshot.name, snapshot.state) == ("second", FenceState.WARM)
    assert not world.host.overlapped
    assert "unloaded or replaced" in world.told.text()


def test_a_model_unloaded_during_its_warm_up_leaves_no_model_and_no_waiting_request(model):
    world = World(Host(ttfts=(0.1,)))
    world.lifecycle.model_changed(loaded(model))
    time.sleep(0.03)
    world.lifecycle.model_changed(None)
    assert world.lifecycle.before_reply(None) == 0.0
    world.settle()
    assert world.state() is FenceState.NONE
    assert "unloaded or replaced" in world.told.text()
    assert not world.host.lock.locked()


def test_a_missing_tokenizer_is_told_at_the_warm_up_and_blocks_nobody(model):
    world = World()
    world.backend.error = BackendError("m has no tokenizer; put tokenizer.json beside its weights.")
    world.lifecycle.model_changed(loaded(model))
    world.settle()
    assert world.state() is FenceState.FAILED
    assert "tokenizer.json" in world.told.problems["warm-up"]
    assert world.lifecycle.before_reply(loaded(model)) == 0.0


@pytest.mark.parametrize(
    "changed",
    [{"loras": ("a",)}, {"cache_type": "q4"}, {"split": "20,24"}, {"context_tokens": 4096}],
    ids=str,
)
def test_a_change_of_lora_cache_split_or_context_arms_the_fence_again(model, changed):
    world = World()
    world.lifecycle.model_changed(loaded(model))
    world.settle()
    assert not world.lifecycle.model_changed(loaded(model))  # the same load
    assert world.lifecycle.model_changed(loaded(model, **changed))
    world.settle()
    assert sum(kind == "warm-up" for kind, _ in world.told.events) == 2
    assert next(iter(changed)) in world.told.text()


def test_switched_off_nothing_is_generated_and_nobody_waits(model):
    world = World(warmup=False)
    world.lifecycle.model_changed(loaded(model))
    assert world.lifecycle.before_reply(loaded(model)) == 0.0
    world.settle()
    assert world.state() is FenceState.OFF
    assert world.host.prompts == []


def test_a_loader_without_an_adapter_is_told_once_and_blocks_nobody(model):
    world = World()

    def none(loaded_model):
        raise BackendError("No adapter knows the loader x.")

    world.lifecycle._make_backend = none
    world.lifecycle.model_changed(loaded(model))
    assert world.lifecycle.before_reply(loaded(model)) == 0.0
    world.lifecycle.reply_ended("a", "b", None)
    assert "No adapter" in world.told.problems["adapter"]


def test_nothing_keeps_an_unloaded_model_alive():
    world = World()
    model = Model()
    watched = weakref.ref(model)
    world.lifecycle.model_changed(loaded(model))
    world.settle()
    del model
    gc.collect()
    assert watched() is None


def test_the_fences_own_cost_is_small(model):
    world = World(Host(ttfts=(0.005,)))
    world.lifecycle.model_changed(loaded(model))
    world.settle()
    assert world.lifecycle.snapshot().report.own_cost_s <= 0.05


@pytest.mark.parametrize("tokens", [0, -8192, "many", 1.5, None])
def test_a_limit_that_is_no_limit_keeps_the_default_and_is_told(tokens):
    settings, problems = from_params({"rotation_tokens": tokens})
    assert settings.rotation_tokens == 8192
    assert len(problems) == 1
    assert "rotation_tokens" in problems[0]


def test_tokens_a_second_count_what_was_written_not_what_was_asked_for(model):
    world = World(Host(token_s=0.002))
    world.lifecycle.model_changed(loaded(model))
    world.settle()
    report = world.lifecycle.snapshot().report
    assert report.runs[-1].tokens == len(report.runs[-1].text) != PROBE_TOKENS


class Scripted(BackendPath):
    """Writes the given texts, one a run."""

    def __init__(self, *texts):
        super().__init__(FakeBackend())
        self.texts = list(texts)

    def run(self, prompt, n_tokens, cancel):
        return Run(0.01, 0.02, n_tokens, self.texts.pop(0) if len(self.texts) > 1 else self.texts[0])


@pytest.mark.parametrize(
    ("texts", "differs"),
    [
        (("a", "-", "-", "a"), False),
        (("cold", "-", "-", "warm", "warm"), True),
        (("a", "-", "-", "b", "c"), None),  # its own noise: it does not repeat itself when it is warm
    ],
)
def test_a_first_run_differs_only_beyond_what_the_warm_model_does_to_itself(texts, differs):
    report = run_fence(Scripted(*texts), None, limit_s=10, cancel=threading.Event())
    assert len(report.runs) == 3
    assert report.first_run_differs is differs
    assert report.canary_text == texts[3]


def test_the_fence_through_an_adapter_alone():
    report = run_fence(BackendPath(FakeBackend(token_s=0.002)), None, limit_s=10, cancel=threading.Event())
    assert report.state in {FenceState.WARM, FenceState.UNSETTLED}
    assert report.canary_text == report.runs[0].text
    assert report.runs[0].tokens == PROBE_TOKENS
