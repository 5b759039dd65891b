"""The main path over fakes: open, chunk, close, score, show."""

from __future__ import annotations

import threading

import pytest
from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import Channel, Finish, ModelInfo
from exllama_guard.testing import ListTrace, make_monitor
from monitor.turns import SNIPPETS, request, settled


def test_a_turn_is_scored_shown_and_traced():
    trace = ListTrace()
    monitor = make_monitor(trace=trace)
    turn = monitor.open_turn(request())
    turn.chunk("The cache")
    turn.close("The cache holds 8192 tokens.", Finish.COMPLETE)
    shown = settled(monitor)
    assert [report.verdict.gate for report in shown.turns] == [Gate.PASS]
    assert shown.live is None
    assert trace.reports == list(shown.turns)
    assert shown.turns[0].distances.answer_context.top1 == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("finish", [Finish.STOPPED, Finish.DISCONNECTED, Finish.FAILED])
def test_an_early_end_is_said(finish):
    monitor = make_monitor()
    monitor.open_turn(request()).close("The cache holds 8192", finish)
    report = settled(monitor).turns[0]
    assert report.finish is finish
    assert any("ended early" in reason for reason in report.verdict.reasons)


def test_closing_twice_counts_once():
    monitor = make_monitor()
    turn = monitor.open_turn(request())
    turn.close("The cache.", Finish.COMPLETE)
    turn.close("Something else.", Finish.FAILED)
    assert [report.answer for report in settled(monitor).turns] == ["The cache."]


def test_continue_is_scored_with_what_stood_there_before():
    monitor = make_monitor()
    monitor.open_turn(request(answer_prefix="The cache ")).close("holds 8192 tokens.", Finish.COMPLETE)
    assert settled(monitor).turns[0].answer == "The cache holds 8192 tokens."


def test_snippets_are_collected_off_the_replys_path():
    monitor = make_monitor()
    where = []

    def collect():
        where.append(threading.current_thread().name)
        return (make_snippet("The cache holds 8192 tokens.", position=0),)

    turn = monitor.open_turn(request(snippets=()), collect)
    turn.close("The cache holds 8192 tokens.", Finish.COMPLETE)
    assert [s.snippet_id for s in settled(monitor).turns[0].request.snippets] == ["s1"]
    assert len(where) == 1
    assert where[0].startswith("guardrails-scoring")


def test_replies_that_ran_at_the_same_time_say_so():
    monitor = make_monitor()
    first = monitor.open_turn(request("first"))
    second = monitor.open_turn(request("second"))
    second.close("B.", Finish.COMPLETE)
    third = monitor.open_turn(request("third"))
    first.close("A.", Finish.COMPLETE)
    third.close("C.", Finish.COMPLETE)
    settled(monitor)
    monitor.open_turn(request("alone")).close("D.", Finish.COMPLETE)
    settled(monitor)
    told = {turn.request.turn_id: turn.beside for turn in monitor.snapshot().turns}
    assert told == {"first": 2, "second": 1, "third": 1, "alone": 0}


def test_thinking_is_not_part_of_the_answer():
    monitor = make_monitor()
    monitor.open_turn(request()).close("<think>hm</think>\n\nThe cache.", Finish.COMPLETE)
    assert settled(monitor).turns[0].answer == "The cache."


def test_a_tool_call_is_not_scored_as_an_answer():
    monitor = make_monitor()
    call = '<tool_call>{"name": "weather", "arguments": {}}</tool_call>'
    monitor.open_turn(request()).close(call, Finish.COMPLETE)
    report = settled(monitor).turns[0]
    assert report.support.support == NotScored(Reason.TOOL_CALL)
    assert report.verdict.gate is Gate.NOT_MEASURED


def test_switched_off_measures_nothing_and_on_again_measures():
    monitor = make_monitor()
    monitor.set_enabled(False)
    turn = monitor.open_turn(request())
    turn.chunk("The cache")
    turn.close("The cache.", Finish.COMPLETE)
    assert settled(monitor).turns == ()
    monitor.set_enabled(True)
    monitor.open_turn(request("t2")).close("The cache.", Finish.COMPLETE)
    assert len(settled(monitor).turns) == 1
    assert [event.text for event in monitor.snapshot(None).events] == [
        "Guardrails switched off.",
        "Guardrails switched on.",
    ]


def test_a_reader_sees_only_own_turns_where_readers_are_private():
    monitor = make_monitor()
    monitor.multi_user = True
    ann, bob = monitor.reader_for("ann", "x"), monitor.reader_for(None, "session-b")
    monitor.open_turn(request("a", reader=ann)).close("The cache.", Finish.COMPLETE)
    monitor.open_turn(request("b", reader=bob)).close("The tokens.", Finish.COMPLETE)
    settled(monitor)
    assert [r.request.turn_id for r in monitor.snapshot(ann).turns] == ["a"]
    assert [r.request.turn_id for r in monitor.snapshot(bob).turns] == ["b"]
    assert monitor.snapshot(monitor.reader_for(None, "somebody")).turns == ()
    assert len(monitor.snapshot(None).turns) == 2


def test_on_a_single_users_host_a_reload_of_the_page_keeps_the_turns():
    monitor = make_monitor()
    reader = monitor.reader_for(None, "tab-1")
    monitor.open_turn(request(reader=reader, channel=Channel.API_CHAT)).close("The cache.", Finish.COMPLETE)
    settled(monitor)
    assert len(monitor.snapshot(monitor.reader_for(None, "tab-2")).turns) == 1


def test_pasted_text_is_checked_without_a_model():
    report = make_monitor().check_pasted(
        "How many tokens does the cache hold?", ["The cache holds 8192 tokens.", " "], "The cache."
    )
    assert (report.request.channel, len(report.request.snippets)) == (Channel.PASTED, 1)
    assert report.verdict.gate is Gate.PASS


def test_the_model_and_what_it_allows_are_shown():
    monitor = make_monitor()
    monitor.model_changed(ModelInfo("Tiny", "Transformers"), ["Grammar works."])
    shown = monitor.snapshot(None)
    assert (shown.model.name, shown.capabilities) == ("Tiny", ("Grammar works.",))
    monitor.model_changed(None)
    assert [event.text for event in monitor.snapshot(None).events] == [
        "Model Tiny (Transformers).",
        "No model loaded.",
    ]


def test_waiting_ends_with_false_when_the_time_runs_out():
    monitor, going = make_monitor(), threading.Event()
    monitor.open_turn(request(), lambda: (going.wait(120), SNIPPETS)[1]).close(
        "It holds 8192.", Finish.COMPLETE
    )
    assert monitor.wait_until_idle(0.05) is False
    going.set()
    assert monitor.wait_until_idle(120) is True


def test_a_reply_that_was_running_when_measuring_was_switched_off_is_not_called_dropped():
    monitor = make_monitor()
    turn = monitor.open_turn(request())
    monitor.set_enabled(False)
    monitor.set_enabled(True)
    turn.close("The cache holds 8192 tokens.", Finish.COMPLETE)
    shown = settled(monitor)
    assert (shown.turns, shown.shed) == ((), 0)
