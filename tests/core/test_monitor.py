"""The main path over fakes: open, chunk, close, score, show; faults and limits on the way."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
import weakref

import pytest
from exllama_guard.assembly import _tell_problems
from exllama_guard.core.records import (
    Channel,
    Finish,
    Gate,
    ModelInfo,
    NotScored,
    Reader,
    Reason,
    TurnRequest,
    make_snippet,
)
from exllama_guard.core.support import AnswerScorer
from exllama_guard.errors import EmbedderError, TraceError
from exllama_guard.settings import Settings
from exllama_guard.sources.knowledge_folder import KnowledgeFolder
from exllama_guard.testing import FakeEmbedder, ListTrace, OverlapScorer, make_monitor

SNIPPETS = (make_snippet("The cache holds 8192 tokens.", position=0),)


def request(turn_id="t1", *, reader=None, started_at_s=1.0, **more):
    return TurnRequest(
        turn_id=turn_id,
        question="How many tokens does the cache hold?",
        snippets=more.pop("snippets", SNIPPETS),
        reader=reader or Reader(),
        started_at_s=started_at_s,
        **more,
    )


def settled(monitor):
    assert monitor.wait_until_idle(10)
    return monitor.snapshot(None)


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


def test_text_so_far_is_scored_while_it_streams():
    monitor = make_monitor()
    turn = monitor.open_turn(request())
    turn.chunk("The cache holds")
    live = settled(monitor).live
    assert (live.finish, live.answer) == (Finish.STREAMING, "The cache holds")
    turn.close("The cache holds 8192 tokens.", Finish.COMPLETE)
    assert settled(monitor).live is None


def test_live_scoring_keeps_its_pace():
    monitor = make_monitor(Settings(live_updates_per_s=0.1))
    turn = monitor.open_turn(request())
    settled(monitor)  # the snippets are read
    for end in range(1, 20):
        turn.chunk("word " * end)
        settled(monitor)
    assert monitor.snapshot(None).live.answer == "word "


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


def test_a_missing_embedder_leaves_support_and_says_so():
    monitor = make_monitor(embedder=FakeEmbedder(error=EmbedderError("no embedder: name one")))
    monitor.open_turn(request()).close("The cache holds 8192 tokens.", Finish.COMPLETE)
    report = settled(monitor).turns[0]
    assert report.distances.gated == NotScored(Reason.EMBEDDER_FAILED, "no embedder: name one")
    assert report.verdict.gate is Gate.PASS


def test_a_trace_that_cannot_be_written_is_one_sentence_until_it_works_again():
    trace = ListTrace(error=TraceError("The disk is full; make room."))
    monitor = make_monitor(trace=trace)
    for number in range(3):
        monitor.open_turn(request(f"t{number}")).close("The cache.", Finish.COMPLETE)
    assert settled(monitor).problems == ("The disk is full; make room.",)
    trace.error = None
    monitor.open_turn(request("t9")).close("The cache.", Finish.COMPLETE)
    assert settled(monitor).problems == ()


def test_a_bug_in_scoring_is_told_and_the_next_turn_is_scored(caplog):
    broken = True

    class Scorer(OverlapScorer):
        def score(self, answer, *, final):
            if broken:
                raise ZeroDivisionError("bug")
            return super().score(answer, final=final)

    monitor = make_monitor(scorer=lambda snippets, question: Scorer(snippets))
    monitor.open_turn(request("t1")).close("The cache.", Finish.COMPLETE)
    problem = settled(monitor).problems[0]
    assert "ZeroDivisionError" in problem
    assert "chat is not affected" in problem
    assert "scoring failed" in caplog.text
    broken = False
    monitor.open_turn(request("t2")).close("The cache.", Finish.COMPLETE)
    assert [r.request.turn_id for r in settled(monitor).turns] == ["t2"]


def test_beyond_the_limit_the_oldest_waiting_turn_is_dropped_and_counted():
    gate = threading.Event()

    class Slow(OverlapScorer):
        def score(self, answer, *, final):
            gate.wait(10)
            return super().score(answer, final=final)

    monitor = make_monitor(Settings(queue_limit=4), scorer=lambda snippets, question: Slow(snippets))
    for number in range(10):
        monitor.open_turn(request(f"t{number}", started_at_s=number)).close("The cache.", Finish.COMPLETE)
        time.sleep(0.01)
    gate.set()
    shown = settled(monitor)
    kept = [int(r.request.turn_id[1:]) for r in shown.turns]
    assert shown.shed == 10 - len(kept) > 0
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == 9


def test_only_the_last_turns_are_kept():
    monitor = make_monitor(Settings(turns_kept=3))
    for number in range(7):
        monitor.open_turn(request(f"t{number}", started_at_s=number)).close("The cache.", Finish.COMPLETE)
    assert [r.request.turn_id for r in settled(monitor).turns] == ["t6", "t5", "t4"]


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


def test_settings_that_do_not_fit_keep_their_value_and_say_why():
    monitor = make_monitor()
    problems = monitor.change_settings(distance_pass=0.3, turns_kept="many", nonsense=1)
    assert monitor.settings.distance_pass == 0.3
    assert monitor.settings.turns_kept == 20
    assert len(problems) == 2


def test_ten_thousand_turns_leave_no_memory_behind():
    monitor = make_monitor()

    def run(first, count):
        for number in range(first, first + count):
            turn = monitor.open_turn(request(f"t{number}", started_at_s=number))
            turn.close("The cache holds 8192 tokens.", Finish.COMPLETE)
            if number % 50 == 0:
                assert monitor.wait_until_idle(10)
        assert monitor.wait_until_idle(10)
        gc.collect()

    run(0, 500)
    tracemalloc.start()
    run(500, 500)
    before = tracemalloc.get_traced_memory()[0]
    run(1000, 9000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 200_000, f"{grown} bytes more after 9,000 turns"


def test_a_turn_that_no_longer_fits_among_the_open_ones_is_counted():
    monitor = make_monitor(Settings(queue_limit=2))
    turns = [monitor.open_turn(request(f"t{number}")) for number in range(5)]
    for turn in turns:
        turn.close("The cache holds 8192 tokens.", Finish.COMPLETE)
        assert monitor.wait_until_idle(10)
    shown = monitor.snapshot(None)
    assert (len(shown.turns), shown.shed) == (2, 3)


def test_waiting_ends_with_false_when_the_time_runs_out():
    monitor, going = make_monitor(), threading.Event()
    monitor.open_turn(request(), lambda: (going.wait(10), SNIPPETS)[1]).close(
        "It holds 8192.", Finish.COMPLETE
    )
    assert monitor.wait_until_idle(0.05) is False
    going.set()
    assert monitor.wait_until_idle(10) is True


def test_a_reply_that_was_running_when_measuring_was_switched_off_is_not_called_dropped():
    monitor = make_monitor()
    turn = monitor.open_turn(request())
    monitor.set_enabled(False)
    monitor.set_enabled(True)
    turn.close("The cache holds 8192 tokens.", Finish.COMPLETE)
    shown = settled(monitor)
    assert (shown.turns, shown.shed) == ((), 0)


def test_a_file_of_the_knowledge_folder_that_was_put_right_is_no_longer_told_of(tmp_path):
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "bad.pdf").write_bytes(b"no pdf")
    (folder / "bad.txt").write_bytes(b"\0")
    monitor = make_monitor()
    knowledge = KnowledgeFolder(folder, FakeEmbedder(), cache_folder=tmp_path / "cache")
    for name, expected in (("bad.txt", 1), ("bad.pdf", 0)):
        _tell_problems(knowledge.refresh().problems, monitor.report_problem)
        assert len(monitor.snapshot(None).problems) == expected + 1
        (folder / name).unlink()
        (folder / "good.md").write_text("The cache holds 8192 tokens.", encoding="utf-8")
    _tell_problems(knowledge.refresh().problems, monitor.report_problem)
    assert monitor.snapshot(None).problems == ()


def test_a_scoring_thread_that_hangs_leaves_no_memory_behind():
    go_on, hangs = threading.Event(), threading.Event()

    class Hanging:
        def __init__(self, snippets):
            pass

        def prepare(self):
            return iter(())

        def score(self, answer, *, final):
            hangs.set()
            assert go_on.wait(30)
            return OverlapScorer(()).score(answer, final=final)

    monitor = make_monitor(Settings(queue_limit=8), scorer=lambda snippets, question: Hanging(snippets))
    handles = []
    for number in range(2_000):
        handle = monitor.open_turn(request(turn_id=f"t{number}"), lambda: ())
        handle.chunk(f"{number} " + "x" * 10_000)
        handle.close(f"{number} " + "y" * 10_000, Finish.COMPLETE)
        handles.append(weakref.ref(handle))
        del handle
    assert hangs.wait(5)
    gc.collect()
    assert sum(ref() is not None for ref in handles) <= 8 + 2
    assert monitor._worker._worker._work_queue.qsize() < 8 * 6
    snapshot = monitor.snapshot()
    assert (snapshot.waiting, snapshot.shed) == (8, 2_000 - 9)  # and one hangs
    go_on.set()
    assert monitor.wait_until_idle(10)
    kept = {turn.request.turn_id for turn in monitor.snapshot().turns}
    assert kept >= {f"t{1_992 + number}" for number in range(8)}  # the newest
    assert len(kept) == 9


def test_a_finished_turn_that_waits_when_measuring_is_switched_off_is_still_scored():
    go_on = threading.Event()
    monitor = make_monitor(Settings(), scorer=lambda snippets, question: Slow(go_on))
    finished, running = (monitor.open_turn(request(name)) for name in ("a", "b"))
    finished.close("Said.", Finish.COMPLETE)
    monitor.set_enabled(False)
    running.close("Broken off.", Finish.COMPLETE)
    go_on.set()
    assert monitor.wait_until_idle(10)
    snapshot = monitor.snapshot()
    assert [turn.request.turn_id for turn in snapshot.turns] == ["a"]
    assert snapshot.shed == 0


class Slow(OverlapScorer):
    """Waits until it may go on."""

    def __init__(self, go_on):
        super().__init__(())
        self.go_on = go_on

    def prepare(self):
        assert self.go_on.wait(10)
        yield


def test_a_reply_that_cannot_be_handed_over_leaves_no_turn_open(monkeypatch):
    monitor = make_monitor()
    handle = monitor.open_turn(request())
    assert monitor.wait_until_idle(10)

    def no_thread(*args):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(monitor._worker, "start", no_thread)
        with pytest.raises(RuntimeError):
            handle.close("Said.", Finish.COMPLETE)
    assert not monitor.snapshot(None).coming
    monitor.open_turn(request("next")).close("Said.", Finish.COMPLETE)
    assert monitor.wait_until_idle(10)
    shown = monitor.snapshot(None)
    assert (len(shown.turns), shown.shed, shown.waiting) == (1, 1, 0)


@pytest.mark.parametrize(
    "asked_for", [{"on_fail": "refuse"}, {"on_review": "annotate"}, {"api_report": True}]
)
def test_where_an_answer_waits_for_its_verdict_its_snippets_are_read_before_its_end(asked_for):
    class Reading(FakeEmbedder):
        def embed(self, texts):
            read.update(texts)
            return super().embed(texts)

    read: set[str] = set()
    monitor = make_monitor(
        Settings(**asked_for),
        scorer=lambda snippets, question: AnswerScorer(snippets, question, Reading(), None),
    )
    handle = monitor.open_turn(request(), lambda: SNIPPETS)
    handle.scheduled = True  # no live score comes before the end
    handle.chunk("It")  # a short prompt: the first word comes at once
    assert monitor.wait_until_idle(10)
    assert handle.collect is None  # so a stream without snippets need not be held back
    assert SNIPPETS[0].text in read
    read.clear()
    handle.score("It holds 8192.", Finish.COMPLETE).result(10)
    assert read == {"It holds 8192."}


class Costly(OverlapScorer):
    """Works for 20 ms of processor time at each score and at each of two steps ahead."""

    def _work(self):
        end_s = time.thread_time() + 0.02
        while time.thread_time() < end_s:
            pass

    def prepare(self):
        for _ in range(2):
            self._work()
            yield

    def score(self, answer, *, final):
        self._work()
        return super().score(answer, final=final)


def test_a_live_score_is_paid_for_beforehand_with_a_hundredth_of_the_reply():
    monitor = make_monitor(scorer=lambda snippets, question: Costly(snippets))
    first = monitor.open_turn(request(turn_id="a"))
    first.chunk("The cache holds")  # nothing is known of the cost yet
    settled(monitor)
    first.close("The cache holds 8192 tokens.", Finish.COMPLETE)
    turn = monitor.open_turn(request(turn_id="b"))
    started_s = time.monotonic()
    while time.monotonic() - started_s < 0.5:
        turn.chunk("The cache holds 8192 tokens. " * 3)
        time.sleep(0.01)
    assert settled(monitor).live is None  # 20 ms are a hundredth of 2 s
    assert turn.ahead is not None  # what was not read beside the prompt waits too
    turn.close("The cache holds 8192 tokens.", Finish.COMPLETE)
    report = settled(monitor).turns[0]
    assert report.support.gate is Gate.PASS


def test_a_reply_of_some_seconds_has_a_live_score_also_where_its_prompt_was_read_at_once():
    class Many(Costly):
        def prepare(self):
            for _ in range(10):  # 200 ms: a hundredth of 20 s
                self._work()
                yield

    monitor = make_monitor(scorer=lambda snippets, question: Many(snippets))
    turn = monitor.open_turn(request())
    started_s = time.monotonic()
    while turn.report is None and time.monotonic() - started_s < 8:
        turn.chunk("The cache holds 8192 tokens. " * 3)
        time.sleep(0.01)
    waited_s = time.monotonic() - started_s
    turn.close("The cache holds 8192 tokens.", Finish.COMPLETE)
    assert turn.report is not None
    assert waited_s > 3  # a short reply does not pay for it


def test_one_costly_score_does_not_silence_the_rest_of_a_reply():
    class Loading(OverlapScorer):
        def score(self, answer, *, final):
            end_s = time.thread_time() + 0.1  # as where the first score of all imports what it needs
            while time.thread_time() < end_s:
                pass
            return super().score(answer, final=final)

    monitor = make_monitor(scorer=lambda snippets, question: Loading(snippets))
    turn = monitor.open_turn(request())
    turn.chunk("The")
    settled(monitor)
    assert turn.report is not None
    assert 1.5 < turn.due_at_s - time.monotonic() <= 2.0  # a hundredth would be 10 s
    turn.close("The cache holds 8192 tokens.", Finish.COMPLETE)


def test_the_snippets_are_read_while_the_model_reads_a_long_prompt():
    monitor = make_monitor(scorer=lambda snippets, question: Costly(snippets))
    turn = monitor.open_turn(request())
    settled(monitor)
    assert turn.ahead is None
    assert turn.scorer is not None
    turn.close("", Finish.COMPLETE)
