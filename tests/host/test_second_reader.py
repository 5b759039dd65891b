"""The loaded model as a second reader inside the host: when it is asked, who goes first, what may change."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace

import pytest
from exllama_guard.core.measures import Gate
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import Finish, ModelInfo, TurnRequest
from exllama_guard.errors import UserError
from exllama_guard.host.lifecycle.path import HostPath
from exllama_guard.trace.line import from_line, to_line
from exllama_guard.trace.record import record_of
from host.second_world import DOCUMENT, HASH, MODEL, OF_USE, QUESTION, RIGHT, WRONG, World, wait_for
from second_reader.material import TURNED, at_random, known, right_in


def always_yes(prompt):
    return 0.95


RELIABLE = right_in(10)


def nan(prompt):
    return math.nan


@pytest.fixture
def world(monkeypatch, tmp_path):
    made = []

    def make(says=RELIABLE, **settings):
        made.append(World(monkeypatch, tmp_path, says, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


# --- what changes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "gate", "said"),
    [(RIGHT, Gate.PASS, "as supporting"), (WRONG, Gate.FAIL, "as not supporting")],
)
def test_a_model_that_was_of_use_settles_an_undecided_answer_once_and_both_are_told(
    world, answer, gate, said
):
    here = world()
    here.load()
    here.turn(answer)
    report = here.traced()
    assert report.verdict.gate is gate
    word = gate.value.capitalize()
    assert report.verdict.reasons[0].startswith(f"Review → {word}: your model reads ")
    assert said in report.verdict.reasons[0]
    assert (report.second_reader.before, report.second_reader.after) == (Gate.REVIEW, gate)
    assert report.second_reader.statements[0].judge > 2 or gate is Gate.FAIL
    assert report.second_reader.prompt_tokens > 0
    assert here.monitor.snapshot(None).turns == (report,)
    assert len(here.trace.reports) == 1  # one line a turn
    asked = len(here.backend.asked)
    time.sleep(0.2)
    assert len(here.backend.asked) == asked


def test_a_trace_holds_the_signals_and_without_texts_no_text(world):
    here = world()
    here.load()
    here.turn()
    report = here.traced()
    read = from_line(to_line(record_of(report)))
    assert read.second_reader == report.second_reader
    bare = to_line(record_of(report, with_text=False))
    assert RIGHT.encode() not in bare
    assert from_line(bare).second_reader.statements[0].judge == report.second_reader.statements[0].judge


def test_the_first_verdict_does_not_wait_for_the_second(world):
    here = world(second_reader_wait_s=30.0)
    here.load()
    here.turn()
    assert here.monitor.wait_until_idle(60)
    first = here.monitor.snapshot(None).turns[0]
    assert (first.verdict.gate, first.second_reader) == (Gate.REVIEW, None)
    assert here.trace.reports == here.backend.asked == []
    here.second.end()
    assert here.traced().second_reader is None  # its trace is not lost


@pytest.mark.parametrize("setting", ["off", "on"])
def test_nothing_is_asked_of_a_model_that_was_not_measured_or_where_it_is_off(world, setting):
    here = world(second_reader=setting)
    here.load(OF_USE if setting == "off" else None)
    here.turn()
    assert here.traced().second_reader is None
    assert here.backend.asked == []


@pytest.mark.parametrize("says", [always_yes, at_random])
def test_a_model_that_cannot_read_is_measured_told_and_never_asked(world, says):
    here = world(says, second_reader_wait_s=0.0)
    here.load(None)
    here.second.start_measuring()
    wait_for(lambda: here.second.view().progress is None)
    view = here.second.view()
    assert not view.asks
    assert "no better than chance" in view.known.sentence()
    assert here.store.get(HASH) == view.known
    here.backend.asked.clear()
    here.turn()
    assert here.traced().verdict.gate is Gate.REVIEW
    assert here.backend.asked == []


@pytest.mark.parametrize("says", [always_yes, nan])
def test_a_model_that_has_stopped_to_read_changes_no_verdict(world, says):
    here = world(says)
    here.load(OF_USE)
    here.turn()
    report = here.traced()
    assert report.verdict.gate is Gate.REVIEW
    assert here.backend.asked


def test_nan_gives_no_measurement_and_says_so(world):
    here = world(nan, second_reader_wait_s=0.0)
    here.load(None)
    here.second.start_measuring()
    wait_for(lambda: here.second.view().progress is None)
    assert "not asked" in here.second.view().problem
    assert here.store.get(HASH) is None


def test_a_model_that_takes_ten_seconds_changes_no_verdict_and_is_asked_no_more(world):
    here = world(second_reader_wait_s=0.0)

    def ten_seconds():
        here.shift_s += 10.0

    here.backend.wait = ten_seconds
    here.load(OF_USE)
    here.turn()
    report = here.traced()
    assert (report.verdict.gate, report.second_reader) == (Gate.REVIEW, None)
    assert len(here.backend.asked) == 2
    assert "10.0 s" in here.second.view().problem
    here.turn(turn_id="t2")
    here.traced(2)
    assert len(here.backend.asked) == 2
    here.second.start_measuring()
    wait_for(lambda: here.second.view().progress is None)
    assert "takes this model 10.0 s" in here.second.view().problem


@pytest.mark.parametrize("case", ["stopped", "another model", "no model"])
def test_only_a_whole_answer_of_the_loaded_model_is_asked_about(world, case):
    here = world()
    here.load()
    finish = Finish.STOPPED if case == "stopped" else Finish.COMPLETE
    model = {"another model": ModelInfo("n", "Transformers"), "no model": None}.get(case, MODEL)
    here.turn(finish=finish, model=model)
    here.traced()
    assert here.backend.asked == []


# --- who goes first ----------------------------------------------------------------------------------------


def test_a_request_that_comes_during_a_reading_waits_for_one_prompt_at_most(world):
    here = world()
    begun, go_on = threading.Event(), threading.Event()

    def wait():
        assert here.host.running == 0, "a prompt is read beside a reply"
        begun.set()
        go_on.wait(60)

    here.backend.wait = wait
    here.load()
    here.turn()
    assert begun.wait(60)
    user = threading.Thread(target=here.asks_as_a_user, daemon=True)
    user.start()
    wait_for(lambda: HostPath().waiting() == 1)
    asked = len(here.backend.asked)
    go_on.set()
    user.join(60)
    assert len(here.host.states) == 1
    assert asked == 1
    report = here.traced()  # later than the next question, and kept with its turn
    assert report.second_reader.after is Gate.PASS
    assert len(here.backend.asked) > asked


def test_no_prompt_is_read_while_replies_are_written(world):
    here = world()

    def wait():
        assert here.host.running == 0
        time.sleep(0.01)

    here.backend.wait = wait
    here.load()
    for number in range(5):
        here.turn(turn_id=f"t{number}")
        here.asks_as_a_user(5)
    here.traced(5)
    assert {report.second_reader.after for report in here.trace.reports} == {Gate.PASS}


def test_a_reply_that_takes_no_lock_waits_for_the_prompt_that_is_read(world):
    here = world()
    begun, go_on = threading.Event(), threading.Event()
    here.backend.wait = lambda: (begun.set(), go_on.wait(60))
    here.load()
    here.turn()
    assert begun.wait(60)
    gave = []
    reply = here.host.text_generation._generate_reply("hello", {"max_new_tokens": 1}, None)
    user = threading.Thread(target=lambda: gave.extend(reply), daemon=True)
    user.start()
    time.sleep(0.1)
    assert gave == []
    go_on.set()
    user.join(60)
    assert gave == [" word0"]
    here.traced()


def test_what_waits_is_given_back_when_the_model_goes(world):
    here = world(second_reader_wait_s=30.0)
    here.load()
    for number in range(10):
        here.turn(turn_id=f"t{number}")
    here.traced(1)  # one is next, eight may wait
    here.second.model_changed(None)
    here.traced(10)
    assert len({report.request.turn_id for report in here.trace.reports}) == 10
    assert here.backend.asked == []
    with pytest.raises(UserError, match="load one first"):
        here.second.start_measuring()


def test_a_fault_of_the_adapter_costs_no_trace(world, monkeypatch):
    here = world()
    monkeypatch.setattr(threading, "excepthook", lambda args: None)

    def fails(ids, wanted):
        raise IndexError("beyond the vocabulary")

    here.load()
    here.backend.next_logprobs = fails
    here.turn()
    here.turn(turn_id="t2")
    here.traced(2)


# --- a reply that waits for its opinion --------------------------------------------------------------------


def first_report(here):
    snippets = (make_snippet(DOCUMENT, position=0),)
    return here.monitor.measure(TurnRequest("t", QUESTION, snippets, model=MODEL), RIGHT)


def test_a_reply_that_acts_on_its_verdict_gets_the_opinion_while_it_holds_the_model(world):
    here = world()
    here.load()
    report = first_report(here)
    turnstile = HostPath().enter(1.0)
    settled = here.second.at_once(report, 30.0)
    turnstile.leave()
    assert settled.verdict.gate is Gate.PASS
    assert here.second.at_once(report, 0.0) is None


def test_it_waits_no_longer_than_its_limit_and_the_model_is_free_after_that_prompt(world):
    here = world()
    go_on = threading.Event()
    here.backend.wait = lambda: go_on.wait(60)
    here.load()
    report = first_report(here)
    turnstile = HostPath().enter(1.0)
    started_s = time.monotonic()
    assert here.second.at_once(report, 0.2) is None
    assert time.monotonic() - started_s < 1.5
    turnstile.leave()
    assert HostPath().enter(0.05) is None  # the prompt that is read goes on alone
    go_on.set()
    after = HostPath().enter(60)
    assert after is not None
    after.leave()
    assert len(here.backend.asked) == 1


# --- what is kept ------------------------------------------------------------------------------------------


def test_a_measurement_is_kept_with_its_weights_and_read_at_the_next_load(world, tmp_path):
    here = world(right_in(9), second_reader_wait_s=0.0)
    here.load(None)
    here.second.start_measuring()
    with pytest.raises(UserError, match="already"):
        here.second.start_measuring()
    wait_for(lambda: here.second.view().progress is None)
    assert here.second.view().asks
    assert (tmp_path / "second-readers.json").stat().st_mode & 0o077 == 0
    other = here.reader()
    other.model_changed("another load")
    wait_for(lambda: other.view().model)
    assert other.view().known == here.second.view().known
    assert other.view().known.join.accept is not None


def test_what_another_loader_was_measured_to_tell_does_not_count(world):
    here = world()
    here.load(replace(OF_USE, loader="llama.cpp"))
    assert here.second.view().known is None


def test_a_measurement_is_cancelled_after_its_prompt_and_nothing_is_kept(world):
    here = world(right_in(9), second_reader_wait_s=0.0)
    here.backend.wait = lambda: time.sleep(0.01)
    here.load(None)
    here.second.start_measuring()
    wait_for(lambda: (here.second.view().progress or known(0)) and here.second.view().progress.done > 1)
    assert here.second.view().progress.total == 200
    here.second.measuring.cancel()
    wait_for(lambda: here.second.view().progress is None)
    assert here.second.view().problem == "Cancelled; nothing was kept."
    assert here.store.get(HASH) is None


def test_auto_measures_once_when_nobody_has_asked_for_a_while(world):
    here = world(right_in(9), second_reader="auto", second_reader_wait_s=0.0)
    here.second = here.reader(idle_s=0.2)
    here.load(None)
    here.asks_as_a_user(30)
    assert here.backend.asked == []
    wait_for(lambda: here.second.view().known is not None)
    asked = len(here.backend.asked)
    here.second.model_changed("again")
    wait_for(lambda: here.second.view().model)
    time.sleep(0.5)
    assert len(here.backend.asked) == asked
    assert sum(TURNED in prompt for prompt in here.backend.asked) == 200


def test_auto_measures_nothing_where_it_was_measured_or_is_only_on(world):
    here = world(right_in(9), second_reader="on", second_reader_wait_s=0.0)
    here.second = here.reader(idle_s=0.05)
    here.load(None)
    time.sleep(0.3)
    assert here.backend.asked == []
