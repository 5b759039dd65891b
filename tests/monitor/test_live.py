"""Live scores: their pace, what is paid for them, what is read ahead of them."""

from __future__ import annotations

import time

import pytest
from exllama_guard.core.measures import Gate
from exllama_guard.core.turns import Finish
from exllama_guard.grounding.support import AnswerScorer
from exllama_guard.settings import Settings
from exllama_guard.testing import FakeEmbedder, OverlapScorer, make_monitor
from monitor.turns import SNIPPETS, request, settled


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
    assert turn.ahead  # what was not read beside the prompt waits too
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
    assert not turn.ahead
    assert turn.scorer is not None
    turn.close("", Finish.COMPLETE)


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
    assert monitor.wait_until_idle(120)
    assert handle.collect is None  # so a stream without snippets need not be held back
    assert SNIPPETS[0].text in read
    read.clear()
    handle.score("It holds 8192.", Finish.COMPLETE).result(10)
    assert read == {"It holds 8192."}
