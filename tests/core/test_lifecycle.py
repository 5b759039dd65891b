"""The life of a loaded model, with a fake host and a model that a person can predict."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest
from exllama_guard.backends.loaded import LoadedModel, LoadSettings, reference
from exllama_guard.core.backend import Capabilities
from exllama_guard.core.canary import CanaryStore
from exllama_guard.core.kv_cache import Action, Cause
from exllama_guard.core.warmup import MAX_RUNS, PROBE_TOKENS, Run
from exllama_guard.errors import BackendError
from exllama_guard.lifecycle import Lifecycle
from exllama_guard.lifecycle.drift import measure_drift, steps_up_to
from exllama_guard.lifecycle.fence import FenceState, run_fence
from exllama_guard.lifecycle.path import BackendPath, Turnstile
from exllama_guard.settings import Settings, from_params
from exllama_guard.testing import FakeBackend


class Model:
    """Something that a weak reference can hold."""


class Host:
    """A generation lock and a model whose time to first token a test chooses."""

    def __init__(self, ttfts=(0.002,), error=None, token_s=0.0):
        self.lock = threading.Lock()
        self.ttfts, self.error, self.token_s = list(ttfts), error, token_s
        self.prompts: list[str] = []
        self.busy = threading.Lock()
        self.overlapped = False
        self.hang = threading.Event()
        self.hang.set()

    def enter(self, wait_s):
        return Turnstile(self.lock) if self.lock.acquire(timeout=wait_s) else None

    def run(self, prompt, n_tokens, cancel):
        if not self.busy.acquire(blocking=False):
            self.overlapped = True
            raise AssertionError("two generations at once")
        try:
            self.prompts.append(prompt)
            if self.error is not None:
                raise self.error
            self.hang.wait(20)
            ttft_s = self.ttfts[min(len(self.prompts), len(self.ttfts)) - 1]
            time.sleep(ttft_s)
            for _ in range(n_tokens):
                if cancel.is_set():
                    break
                time.sleep(self.token_s)
            return Run(ttft_s, ttft_s + n_tokens * self.token_s, n_tokens, f"after {prompt[:6]}")
        finally:
            self.busy.release()


class Told:
    def __init__(self):
        self.events: list[tuple[str, str]] = []
        self.problems: dict[str, str] = {}

    def record_event(self, kind, text):
        self.events.append((kind, text))

    def report_problem(self, sentence, key):
        self.problems[key] = sentence

    def clear_problem(self, key):
        self.problems.pop(key, None)

    def text(self):
        return " ".join(text for _, text in self.events)


class World:
    """A lifecycle with everything around it, whose threads are joined at the end."""

    def __init__(self, host=None, backend=None, store=None, **settings):
        self.host, self.told, self.backend = host or Host(), Told(), backend or FakeBackend()
        self.settings = Settings(**settings)
        self.threads: list[threading.Thread] = []
        self.faults: list[BaseException] = []
        self.cards = []
        self.lifecycle = Lifecycle(
            settings=lambda: self.settings,
            path=self.host,
            tell=self.told,
            spawn=self.spawn,
            store=store,
            make_backend=lambda loaded: self.backend,
            on_card=lambda card, can: self.cards.append(card),
        )

    def spawn(self, job):
        def guarded():
            try:
                job()
            except Exception as error:  # noqa: BLE001 - kept, and looked at when the threads are joined
                self.faults.append(error)

        thread = threading.Thread(target=guarded, daemon=True)
        self.threads.append(thread)
        thread.start()

    def settle(self):
        for thread in list(self.threads):
            thread.join(20)
            assert not thread.is_alive()
        assert self.faults == []

    def state(self):
        return self.lifecycle.snapshot().state


def loaded(model, name="m", **settings):
    return LoadedModel(name, "fake", reference(model), lambda: None, settings=LoadSettings(**settings))


@pytest.fixture
def model():
    return Model()


# --- the fence ------------------------------------------------------------------------------------------


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
    assert report.cold_start
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
    assert "another model was loaded" in world.told.text()


def test_a_model_unloaded_during_its_warm_up_leaves_no_model_and_no_waiting_request(model):
    world = World(Host(ttfts=(0.1,)))
    world.lifecycle.model_changed(loaded(model))
    time.sleep(0.03)
    world.lifecycle.model_changed(None)
    assert world.lifecycle.before_reply(None) == 0.0
    world.settle()
    assert world.state() is FenceState.NONE


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


def test_the_fence_through_an_adapter_alone():
    report = run_fence(BackendPath(FakeBackend(token_s=0.002)), None, limit_s=10, cancel=threading.Event())
    assert report.state in {FenceState.WARM, FenceState.UNSETTLED}
    assert report.canary_text == report.runs[0].text
    assert report.runs[0].tokens == PROBE_TOKENS


# --- the canary -----------------------------------------------------------------------------------------


def test_the_canary_is_compared_with_the_one_of_the_run_before(model, tmp_path):
    store = CanaryStore(tmp_path / "canaries.json")
    findings = []
    for restart in range(3):
        world = World(store=CanaryStore(tmp_path / "canaries.json"))
        if restart == 2:
            world.host.run = _writing(world.host.run, "something else")
        world.lifecycle.model_changed(loaded(model))
        world.settle()
        findings.append(world.lifecycle.snapshot().canary.same)
    assert findings == [None, True, False]
    assert "writes something else" in world.told.problems["canary"]
    assert world.backend.resets == 1  # a canary mismatch forces a rotation
    assert store.before("0" * 64, "fake").text == "something else"


def _writing(run, text):
    def changed(prompt, n_tokens, cancel):
        made = run(prompt, n_tokens, cancel)
        return Run(made.ttft_s, made.elapsed_s, made.tokens, text)

    return changed


def test_a_store_that_cannot_be_read_is_told_and_the_model_is_ready_all_the_same(model, tmp_path):
    (tmp_path / "canaries.json").write_text("broken", encoding="utf-8")
    world = World(store=CanaryStore(tmp_path / "canaries.json"))
    world.lifecycle.model_changed(loaded(model))
    world.settle()
    assert world.state() is FenceState.WARM
    assert "set aside" in world.told.problems["canary"]


# --- counting and rotation ------------------------------------------------------------------------------


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


# --- drift ----------------------------------------------------------------------------------------------


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
