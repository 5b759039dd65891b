"""Between host and lifecycle: what a probe is asked with, and a request that waits and is given up."""

from __future__ import annotations

import sys
import threading
import time
import types

import pytest
from exllama_guard.errors import BackendError
from exllama_guard.host.lifecycle.hooks import gating, loaded_model
from exllama_guard.host.lifecycle.load_watch import watch_loads
from exllama_guard.host.lifecycle.model_watch import ModelWatch
from exllama_guard.host.lifecycle.path import HostPath
from exllama_guard.host.patches import Patches
from exllama_guard.host.turn.generation_lock import WatchedLock, take_wait, unwatch_lock, watched_lock
from exllama_guard.host.turn.observe import PROBE
from exllama_guard.lifecycle import Lifecycle
from exllama_guard.lifecycle.canary import recipe_of
from exllama_guard.lifecycle.fence import FenceState
from exllama_guard.settings import Settings
from exllama_guard.testing import FakeBackend
from host.small_host import SmallHost

ASKED = {"max_new_tokens": 3}


class Told:
    def __init__(self):
        self.events, self.problems = [], {}

    def record_event(self, kind, text):
        self.events.append(text)

    def report_problem(self, sentence, key):
        self.problems[key] = sentence

    def clear_problem(self, key):
        self.problems.pop(key, None)


@pytest.fixture
def host(monkeypatch):
    return SmallHost(monkeypatch)


@pytest.fixture
def watched(host):
    """A host whose model is followed: its lifecycle, with the gate in the host's place."""
    threads = []

    def spawn(job):
        threads.append(threading.Thread(target=job, daemon=True))
        threads[-1].start()

    life = Lifecycle(Settings, HostPath(), Told(), spawn, make_backend=lambda loaded: FakeBackend())
    host.text_generation._generate_reply = gating(life)(host.write)
    watch = ModelWatch(host.shared, lambda: life.model_changed(loaded_model()), settle_s=0.01)
    watch.install()
    yield life
    host.shared.model, host.shared.model_name = None, "None"
    watch.uninstall()
    life.model_changed(None)
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()


def wait_for(wanted, limit_s=120.0):
    until_s = time.monotonic() + limit_s
    while not wanted():
        assert time.monotonic() < until_s
        time.sleep(0.005)


def users_requests(host):
    return [state for state in host.states if PROBE not in state]


def in_background(host, state=ASKED):
    """A user's request on a thread of its own, and what it gave."""
    gave = []
    thread = threading.Thread(
        target=lambda: gave.extend(host.generate_reply("hello", dict(state), None)), daemon=True
    )
    thread.start()
    return thread, gave


# --- what a probe is asked with -------------------------------------------------------------------------


def test_what_a_user_has_set_changes_no_probe(host):
    """A settings.yaml with add_bos_token: false made the canary differ, with nothing said to have changed."""
    host.load()
    before = recipe_of("p", 10, HostPath().settings())
    HostPath().run("p", 3, threading.Event())
    host.shared.settings.update(
        add_bos_token=False, static_cache=True, truncation_length=4096, max_tokens_second=3
    )
    HostPath().run("p", 3, threading.Event())
    plain, changed = host.states
    assert {key: changed[key] for key in plain if plain[key] != changed[key]} == {"truncation_length": 4096}
    assert recipe_of("p", 10, HostPath().settings()) == before
    assert changed["add_bos_token"] is True
    assert changed["top_k"] == 1


def test_another_default_of_the_hosts_sampler_is_another_recipe(host):
    before = recipe_of("p", 10, HostPath().settings())
    sys.modules["modules.presets"].default_preset = lambda: {"xtc_probability": 0.5}
    assert recipe_of("p", 10, HostPath().settings()) != before


def test_what_the_host_was_told_for_its_loader_is_recorded(host):
    host.load()
    host.shared.args.bf16, host.shared.args.gpu_split = True, "20,24"
    known = loaded_model()
    assert known.options() == {"bf16": "True", "extensions": ""}
    assert known.settings.split == "20,24"  # told of by its own name, not twice


def test_a_lora_change_is_noticed_without_a_new_model_object(host):
    seen = threading.Event()
    watch = ModelWatch(host.shared, seen.set, settle_s=0.01)
    watch.install()
    host.shared.lora_names = ["a"]
    assert seen.wait(120)
    watch.uninstall()


# --- a request that waits and is given up ---------------------------------------------------------------


def test_stop_while_waiting_for_the_hosts_lock_ends_the_request_and_not_the_next_one(host, watched):
    host.step_s = 0.05
    host.load()
    wait_for(lambda: host.states)  # the warm-up has the lock
    thread, gave = in_background(host)
    time.sleep(0.1)
    assert gave == []
    host.shared.stop_everything = True
    thread.join(60)
    assert gave == [""]
    assert users_requests(host) == []
    assert "Stop" in watched.snapshot().report.failure
    assert list(host.generate_reply("again", dict(ASKED), None))[-1] == " word0 word1 word2"


def test_a_request_that_waits_for_the_hosts_lock_is_shown_and_its_wait_is_told(host, watched):
    host.step_s = 0.03
    host.load()
    wait_for(lambda: host.states)
    thread, gave = in_background(host)
    wait_for(lambda: watched.snapshot().requests_waiting == 1)
    assert watched.snapshot().last_wait_s is None
    thread.join(120)
    assert gave[-1] == " word0 word1 word2"
    assert watched.snapshot().requests_waiting == 0
    assert watched.snapshot().last_wait_s > 0.03
    waited_s = watched.snapshot().last_wait_s
    list(host.generate_reply("again", dict(ASKED), None))
    assert watched.snapshot().last_wait_s == waited_s  # this one waited for nothing


def test_stop_during_the_warm_up_that_a_request_lent_its_lock_to_ends_both(host, watched):
    """Idle reload: the host loads and generates in one go."""
    host.step_s = 0.05
    life = watched
    with host.shared.generation_lock:  # nobody else may have the warm-up first
        host.load()
        gave = []
        replies = host.text_generation._generate_reply("hello", dict(ASKED), None)
        thread = threading.Thread(target=lambda: gave.extend(replies), daemon=True)
        thread.start()
        wait_for(lambda: host.states)
        host.shared.stop_everything = True
        thread.join(120)
        assert gave == [""]
        assert host.running == 0  # the lock is given back with nothing running under it
    assert users_requests(host) == []
    wait_for(lambda: life.snapshot().state is FenceState.FAILED)


def test_a_parallel_request_that_is_stopped_leaves_at_once_while_the_warm_up_goes_on(host, watched):
    host.step_s = 0.05
    host.load()
    wait_for(lambda: host.states)
    left = threading.Event()
    gave = []
    replies = host.text_generation._generate_reply("hello", {**ASKED, "stop_event": left}, None)
    thread = threading.Thread(target=lambda: gave.extend(replies), daemon=True)  # takes no lock
    thread.start()
    wait_for(lambda: watched.snapshot().requests_waiting)
    left.set()  # its client is gone
    thread.join(0.5)
    assert gave == [""]
    assert watched.snapshot().state is FenceState.WARMING
    wait_for(lambda: watched.snapshot().state.open, limit_s=20)
    assert users_requests(host) == []


def test_a_stop_from_before_is_no_stop_of_this_request(host, watched):
    host.load()
    wait_for(lambda: watched.snapshot().state.open and not host.shared.generation_lock.locked())
    host.shared.stop_everything = True
    assert list(host.generate_reply("hello", dict(ASKED), None))[-1] == " word0 word1 word2"


def test_a_wait_is_told_once_also_when_another_thread_gives_the_lock_back(host):
    lock = watched_lock(host.shared)
    assert take_wait() is None
    lock.acquire()
    wait = take_wait()
    assert not wait.stopped
    assert wait.since_s <= time.perf_counter()
    assert take_wait() is None
    giver = threading.Thread(target=lock.release)
    giver.start()
    giver.join(120)
    assert take_wait() is None
    lock.acquire()
    lock.release()
    assert take_wait() is None  # an errand that asked for nothing


def test_the_watched_lock_is_the_hosts_own_lock(host):
    raw = host.shared.generation_lock
    turnstile = HostPath().enter(1.0)
    assert isinstance(host.shared.generation_lock, WatchedLock)
    assert raw.locked()
    assert host.shared.generation_lock.locked()
    assert HostPath().enter(0.02) is None
    turnstile.leave()
    assert not raw.locked()
    with host.shared.generation_lock:
        assert raw.locked()
    host.shared.generation_lock.acquire()
    unwatch_lock(host.shared)
    assert host.shared.generation_lock is raw
    raw.release()  # the same lock, whichever name it was taken by
    unwatch_lock(host.shared)
    watched_lock(host.shared)
    assert raw.acquire(blocking=False)  # someone who took it before it was watched
    host.shared.generation_lock.release()
    assert not raw.locked()


def test_a_probe_that_stop_ends_has_no_result(host):
    host.load()
    watch = ModelWatch(host.shared, lambda: None)
    watch.install()
    threading.Timer(0.05, lambda: setattr(host.shared, "stop_everything", True)).start()
    with pytest.raises(BackendError, match="Stop button"):
        HostPath().run("p", 200, threading.Event())
    watch.uninstall()


@pytest.mark.parametrize(
    "error",
    [ConnectionResetError("reset by peer"), RuntimeError("CUDA error"), AttributeError("NoneType")],
    ids=lambda error: type(error).__name__,
)
def test_a_model_that_breaks_under_a_probe_is_told_as_the_models_fault_and_blocks_nobody(
    host, watched, error
):
    def breaks(question, state, *rest, **more):
        yield "one word"
        raise error

    host.text_generation._generate_reply = gating(watched)(breaks)
    host.load()
    wait_for(lambda: watched.snapshot().state is FenceState.FAILED)
    assert f"{type(error).__name__}: {error}" in watched.snapshot().report.failure
    host.text_generation._generate_reply = gating(watched)(host.write)
    assert list(host.generate_reply("hello", dict(ASKED), None))[-1] == " word0 word1 word2"


# --- loads that fail ------------------------------------------------------------------------------------


def test_a_failing_load_is_told_whoever_bound_the_function_and_whenever(host, monkeypatch):
    def load_model(model_name, loader=None):
        if model_name == "gone":
            raise OSError("no such file")
        return (None, None) if model_name == "empty" else (object(), object())

    modules = {name: types.ModuleType(name) for name in ("modules.models", "extensions.openai.models")}
    for name, module in modules.items():
        module.load_model, module.__spec__ = load_model, types.SimpleNamespace(name=name)
        monkeypatch.setitem(sys.modules, name, module)
    told, patches = Told(), Patches()
    watch_loads(patches, told)
    from modules.models import load_model as later  # as a module does that is imported after the set-up

    with pytest.raises(OSError, match="no such file"):
        modules["extensions.openai.models"].load_model("gone")
    assert "gone could not be loaded (OSError: no such file)" in told.problems["load"]
    later("good")
    assert "load" not in told.problems
    later("empty")
    assert "the loader gave no model" in told.problems["load"]
    assert len(told.events) == 2
    patches.undo()
    assert modules["extensions.openai.models"].load_model is load_model
