"""Probes through the host: its lock, its template, a user who waits; and the panel's service and rows."""

from __future__ import annotations

import itertools
import sys
import threading
import time
import types
from types import ModuleType

import pytest
from exllama_guard.core.measures import Gate
from exllama_guard.errors import BackendError, UserError
from exllama_guard.host.probes.generator import HostGenerator, users_first
from exllama_guard.host.probes.replay import ReplayingHost
from exllama_guard.host.turn.notes import TurnNotes
from exllama_guard.panel.probes.rows import diagnosis_row, doctor_rows, editable_forms, probe_rows
from exllama_guard.probes.doctor.checkup import checkup_of
from exllama_guard.probes.doctor.diagnosis import Diagnosis
from exllama_guard.probes.doctor.symptoms import observed
from exllama_guard.probes.generation import GREEDY, Sampling
from exllama_guard.probes.lambda_probe import LambdaProbe
from exllama_guard.probes.service import ProbeService
from exllama_guard.testing import FakeEmbedder
from host_modules import host_modules
from probe_material import ScriptedMode


@pytest.fixture
def host(monkeypatch):
    """The few names of the host that a probe needs."""
    shared, generation, chat = host_modules(monkeypatch, "shared", "text_generation", "chat")
    shared.model, shared.model_name, shared.settings = object(), "m", {"name1": "You"}
    shared.generation_lock = threading.Lock()
    shared.states, shared.held = [], []

    def generate(prompt, state, stops, is_chat):
        shared.states.append((prompt, state))
        shared.held.append(shared.generation_lock.locked())
        yield from ("It", "It holds &lt;8192&gt;", f"It holds &lt;8192&gt; {state['seed']}")

    generation._generate_reply = generate
    chat.generate_chat_prompt = lambda text, state, history: f"<user>{text}"
    return shared


def test_a_reply_comes_by_the_hosts_template_and_under_its_lock(host):
    written = HostGenerator().write("q?", Sampling(0.7, 0.9, 0, 12), 3, threading.Event())
    assert written.text == "It holds <8192> 3"
    prompt, state = host.states[0]
    assert prompt == "<user>q?"
    assert (state["temperature"], state["seed"], state["max_new_tokens"], state["do_sample"]) == (
        0.7,
        3,
        12,
        True,
    )
    assert "exllama_guardrails_probe" in state
    assert host.held == [True]
    assert not host.generation_lock.locked()


def test_greedy_is_top_k_1(host):
    HostGenerator().write("q?", GREEDY, 1, threading.Event())
    assert (host.states[0][1]["top_k"], host.states[0][1]["do_sample"]) == (1, False)


def test_the_lock_is_given_back_when_the_host_fails(host, monkeypatch):
    def broken(prompt, state, stops, is_chat):
        raise RuntimeError("CUDA")
        yield ""

    monkeypatch.setattr(sys.modules["modules.text_generation"], "_generate_reply", broken)
    with pytest.raises(BackendError, match="RuntimeError: CUDA"):
        HostGenerator().write("q?", GREEDY, 1, threading.Event())
    assert not host.generation_lock.locked()


def test_a_users_stop_does_not_cut_a_probes_reply_short(host, monkeypatch):
    whole, tries = sys.modules["modules.text_generation"]._generate_reply, []

    def hit_once(prompt, state, stops, is_chat):
        tries.append(1)
        shared_stop = len(tries) == 1
        host.stop_everything = shared_stop
        yield from itertools.islice(whole(prompt, state, stops, is_chat), 1 if shared_stop else None)

    monkeypatch.setattr(sys.modules["modules.text_generation"], "_generate_reply", hit_once)
    written = HostGenerator().write("q?", GREEDY, 3, threading.Event())
    assert written.text == "It holds <8192> 3"
    assert (len(tries), written.stopped) == (2, False)


def test_the_id_tells_models_with_the_same_name_apart(host, tmp_path):
    names = []
    for content in (b"one", b"two"):
        (tmp_path / "m").mkdir(exist_ok=True)
        (tmp_path / "m" / "model.safetensors").write_bytes(content)
        host.args = types.SimpleNamespace(model_dir=str(tmp_path), loader="Transformers")
        host.model = types.SimpleNamespace()
        names.append(HostGenerator().id)
    assert names[0] != names[1]
    assert all(name.startswith("m|") and len(name.split("|")[1]) == 64 for name in names)


def test_a_host_whose_extensions_cannot_be_narrowed_is_told_and_left_as_it_was(host, monkeypatch):
    extensions, chat = ModuleType("modules.extensions"), sys.modules["modules.chat"]
    extensions.iterator = lambda: iter(())
    before = extensions.iterator
    monkeypatch.setitem(sys.modules, "modules.extensions", extensions)
    assert not hasattr(chat, "generate_reply")
    with pytest.raises(BackendError, match="cannot be replayed here"):
        ReplayingHost(None, TurnNotes()).ask("q?", frozenset(), GREEDY, 0, threading.Event())
    assert extensions.iterator is before


def test_without_a_model(host):
    host.model = None
    with pytest.raises(BackendError):
        HostGenerator().write("q?", GREEDY, 1, threading.Event())
    with pytest.raises(BackendError):
        _ = HostGenerator().id


def test_a_cancelled_probe_does_not_wait_for_a_long_reply(host):
    host.generation_lock.acquire()
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    started = time.monotonic()
    assert HostGenerator().write("q?", GREEDY, 1, cancel).stopped
    users_first(cancel)
    assert time.monotonic() - started < 5
    host.generation_lock.release()


def test_a_waiting_user_goes_before_the_next_generation(host):
    order, at_the_lock = [], threading.Event()

    def user():
        at_the_lock.set()
        with host.generation_lock:
            order.append("user")
            time.sleep(0.05)

    def script(text, seed):
        order.append("probe")
        if len(order) == 1:
            host.generation_lock.acquire()
            thread.start()
            assert at_the_lock.wait(10)
            time.sleep(0.02)
            host.generation_lock.release()
        return "The cache holds 8192 tokens."

    thread = threading.Thread(target=user)
    service = ProbeService(
        generator=ScriptedMode(script),
        embedder=FakeEmbedder,
        users_first=users_first,
        spawn=lambda job: job(),
    )
    service.start(LambdaProbe("How many tokens does the cache hold?"))
    thread.join()
    assert order[:3] == ["probe", "user", "probe"]
    assert service.state.result.report.gate is Gate.PASS


# --- the panel's service --------------------------------------------------------------------------------


def service(script=lambda text, seed: "The cache holds 8192 tokens.", **more):
    return ProbeService(
        generator=ScriptedMode(script, **more), embedder=FakeEmbedder, spawn=lambda job: job()
    )


QUESTION = "How many tokens does the cache hold?"


def test_rows_of_a_finished_probe():
    made = service()
    made.start(LambdaProbe(QUESTION))
    rows = probe_rows(made.state)
    assert (rows.symbol, rows.badge.word, not rows.work.running, rows.work.running) == (
        "→",
        rows.badge.word,
        True,
        False,
    )
    assert rows.numbers[0][1] == "6 of 6"
    assert [form for form, _ in rows.grid] == list(editable_forms(QUESTION))
    assert [cell.group for _, cells in rows.grid for cell in cells] == ["A"] * 6
    assert rows.work.share is None


def test_a_model_that_goes_away_is_told_in_one_sentence():
    made = service(fails_after=2)
    made.start(LambdaProbe(QUESTION))
    rows = probe_rows(made.state)
    assert "was unloaded" in rows.work.problem
    assert rows.badge is None
    assert not rows.work.running


def test_stop_and_a_second_start():
    made = service(lambda text, seed: made.stop() or "yes")
    made.start(LambdaProbe(QUESTION))
    assert made.state.result.stopped
    assert probe_rows(made.state).symbol == ""
    with pytest.raises(UserError, match="There is no question; type one"):
        made.start(LambdaProbe(""))
    waiting = ProbeService(
        generator=ScriptedMode(lambda t, s: ""), embedder=FakeEmbedder, spawn=lambda job: None
    )
    waiting.start(LambdaProbe(QUESTION))
    with pytest.raises(UserError, match="A probe is running; stop it first"):
        waiting.start(LambdaProbe(QUESTION))
    assert probe_rows(waiting.state).work.running


def test_a_fault_does_not_leave_the_panel_waiting():
    def broken(text, seed):
        raise ZeroDivisionError

    made = service(broken)
    with pytest.raises(ZeroDivisionError):
        made.start(LambdaProbe(QUESTION))
    assert not made.state.running
    assert "fault" in made.state.problem


def test_rows_of_the_doctor_and_of_the_diagnosis():
    rows = doctor_rows(checkup_of([observed("EX1", Gate.FAIL, "slow"), observed("PC4", Gate.PASS, "filled")]))
    assert rows.headline == "Repair first: First run slower or unstable."
    assert rows.found[0].page_url.endswith("bootstrap-ordering.md")
    assert rows.clean[0].page_url == ""
    assert len(rows.not_measured) > 20
    assert diagnosis_row(Diagnosis("p", None, ("o",))).page_url == ""
