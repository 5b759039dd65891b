"""Turns measured in the real process, without an embedding model: what the panel says when it fails."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from exllama_guard import assembly
from exllama_guard.core.measures import Gate
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import Finish, TurnRequest
from exllama_guard.errors import EmbedderError
from exllama_guard.panel.turn.rows import number
from exllama_guard.settings import Settings
from exllama_guard.worker import Worker, WorkerEmbedder, WorkHere

SNIPPETS = (make_snippet("The cache holds 8192 tokens.", position=0),)
GOOD, BAD = "The cache holds 8192 tokens.", "The cache holds 9000 tokens."


def settings(tmp_path, **more):
    return Settings(embedder=str(tmp_path / "absent"), traces=False, **more)


def request(turn_id):
    return TurnRequest(turn_id, "How many tokens does the cache hold?", SNIPPETS)


@pytest.fixture
def worker():
    made = Worker()
    assembly.use_work(made)
    yield made
    assembly.use_work(None)
    made.close()


def measured(monitor, turn_id, answer):
    monitor.open_turn(request(turn_id)).close(answer, Finish.COMPLETE)
    assert monitor.wait_until_idle(120)
    return monitor.snapshot(None).turns[0]


def test_the_process_gives_what_the_same_work_gives_here(worker, tmp_path):
    there = assembly.build_monitor(settings(tmp_path))
    given = [there.measure(request(str(n)), answer) for n, answer in enumerate((GOOD, BAD))]
    assembly.use_work(WorkHere())
    here = assembly.build_monitor(settings(tmp_path))
    for n, answer in enumerate((GOOD, BAD)):
        same = here.measure(request(str(n)), answer)
        assert (same.verdict, same.support, same.request) == (
            given[n].verdict,
            given[n].support,
            given[n].request,
        )
    assert given[1].verdict.gate is Gate.FAIL
    assert "torch" not in sys.modules or "exllama_guard.worker.tasks" in sys.modules


def test_where_no_process_can_be_started_a_turn_is_measured_here_and_the_panel_says_so_once(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    made = Worker()
    assembly.use_work(made)
    try:
        monitor = assembly.build_monitor(settings(tmp_path))
        assert measured(monitor, "a", BAD).verdict.gate is Gate.FAIL
        monitor.replace_settings(settings(tmp_path, work_limit_s=20.0))
        assert measured(monitor, "b", GOOD).verdict.gate is not Gate.FAIL
        told = [one for one in monitor.snapshot(None).problems if "no process of its own" in one]
        assert len(told) == 1
        assert "checked inside this program" in told[0]
    finally:
        assembly.use_work(None)
        made.close()


def test_a_question_on_the_path_of_a_reply_is_not_waited_for_where_the_process_hangs(worker, tmp_path):
    if not hasattr(signal, "SIGSTOP"):
        pytest.skip("a process cannot be stopped here")
    asked = WorkerEmbedder(worker, str(tmp_path / "absent"), 60.0, question_wait_s=0.2)
    unhurried = WorkerEmbedder(worker, str(tmp_path / "absent"), 60.0)
    with pytest.raises(EmbedderError, match="is not there"):
        unhurried.embed_question("How many tokens?")
    os.kill(worker.pid, signal.SIGSTOP)
    for _ in range(3):
        with pytest.raises(EmbedderError, match="not done in time"):
            asked.embed_question("How many tokens?")


def test_a_turn_that_takes_too_long_is_told_and_the_next_is_measured(worker, tmp_path):
    if not hasattr(signal, "SIGSTOP"):
        pytest.skip("a process cannot be stopped here")
    monitor = assembly.build_monitor(settings(tmp_path, work_limit_s=2.0))
    assert measured(monitor, "a", BAD).verdict.gate is Gate.FAIL
    os.kill(worker.pid, signal.SIGSTOP)
    report = measured(monitor, "b", BAD)
    assert report.verdict.gate is Gate.NOT_MEASURED
    assert report.verdict.reasons == ("Not measured: took longer than 2 s.",)
    assert number(report.support.support) == "not measured: took longer than 2 s"
    monitor.replace_settings(settings(tmp_path))
    assert measured(monitor, "c", BAD).verdict.gate is Gate.FAIL


def test_two_chats_at_once_each_get_their_own_verdict_after_a_kill(worker, tmp_path):
    monitor = assembly.build_monitor(settings(tmp_path))
    first, second = monitor.open_turn(request("first")), monitor.open_turn(request("second"))
    first.chunk(GOOD)
    second.chunk(BAD)
    assert monitor.wait_until_idle(120)
    os.kill(worker.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    second.close(BAD, Finish.COMPLETE)
    first.close(GOOD, Finish.COMPLETE)
    assert monitor.wait_until_idle(120)
    turns = {turn.request.turn_id: turn for turn in monitor.snapshot(None).turns}
    assert {name: turn.answer for name, turn in turns.items()} == {"first": GOOD, "second": BAD}
    gates = {name: turn.verdict.gate for name, turn in turns.items()}
    assert gates["second"] in (Gate.FAIL, Gate.NOT_MEASURED)  # the piece that the kill met is lost
    assert gates["first"] is not Gate.FAIL


def test_a_process_that_cannot_start_is_told_in_the_panel_with_the_remedy(tmp_path):
    made = Worker("worker.tasks_that_cannot_start")
    assembly.use_work(made)
    try:
        monitor = assembly.build_monitor(settings(tmp_path))
        report = measured(monitor, "a", BAD)
        assert report.verdict.gate is Gate.NOT_MEASURED
        (problem,) = monitor.snapshot(None).problems
        assert "Restart the WebUI" in problem
        assert "requirements.txt" in problem
    finally:
        assembly.use_work(None)
        made.close()
