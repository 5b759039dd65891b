"""The main path where something fails, hangs, or is more than its limits allow."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
import weakref

import pytest
from exllama_guard.assembly import _report_problems
from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.core.turns import Finish
from exllama_guard.errors import EmbedderError, TraceError
from exllama_guard.settings import Settings
from exllama_guard.sources.knowledge_folder import KnowledgeFolder
from exllama_guard.testing import FakeEmbedder, ListTrace, OverlapScorer, make_monitor
from monitor.turns import request, settled


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


def test_a_file_of_the_knowledge_folder_that_was_put_right_is_no_longer_told_of(tmp_path):
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "bad.pdf").write_bytes(b"no pdf")
    (folder / "bad.txt").write_bytes(b"\0")
    monitor = make_monitor()
    knowledge = KnowledgeFolder(folder, FakeEmbedder(), cache_folder=tmp_path / "cache")
    for name, expected in (("bad.txt", 1), ("bad.pdf", 0)):
        _report_problems(knowledge.refresh().problems, monitor.report_problem)
        assert len(monitor.snapshot(None).problems) == expected + 1
        (folder / name).unlink()
        (folder / "good.md").write_text("The cache holds 8192 tokens.", encoding="utf-8")
    _report_problems(knowledge.refresh().problems, monitor.report_problem)
    assert monitor.snapshot(None).problems == ()


def test_settings_that_do_not_fit_keep_their_value_and_say_why():
    monitor = make_monitor()
    problems = monitor.change_settings(distance_pass=0.3, turns_kept="many", nonsense=1)
    assert monitor.settings.distance_pass == 0.3
    assert monitor.settings.turns_kept == 20
    assert len(problems) == 2


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


def test_a_turn_that_no_longer_fits_among_the_open_ones_is_counted():
    monitor = make_monitor(Settings(queue_limit=2))
    turns = [monitor.open_turn(request(f"t{number}")) for number in range(5)]
    for turn in turns:
        turn.close("The cache holds 8192 tokens.", Finish.COMPLETE)
        assert monitor.wait_until_idle(10)
    shown = monitor.snapshot(None)
    assert (len(shown.turns), shown.shed) == (2, 3)


class Slow(OverlapScorer):
    """Waits until it may go on."""

    def __init__(self, go_on):
        super().__init__(())
        self.go_on = go_on

    def prepare(self):
        assert self.go_on.wait(10)
        yield


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


def test_only_the_last_turns_are_kept():
    monitor = make_monitor(Settings(turns_kept=3))
    for number in range(7):
        monitor.open_turn(request(f"t{number}", started_at_s=number)).close("The cache.", Finish.COMPLETE)
    assert [r.request.turn_id for r in settled(monitor).turns] == ["t6", "t5", "t4"]


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
