"""Relevance: an answer beside the question is seen, and tasks, short answers and follow-ups are let alone."""

from __future__ import annotations

import pytest
from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import Finish, TurnRequest
from exllama_guard.grounding.relevance import load_relevance_weights, measure_relevance, shared_words
from exllama_guard.testing import make_monitor
from hypothesis import given
from hypothesis import strategies as st

QUESTION = "When does the harbour library open on Sundays?"
ANSWER = "The harbour library opens at ten on Sundays."
BESIDE = "Two brass lamps stand beside the marble staircase."


def test_an_answer_to_the_question_passes_and_one_beside_it_is_to_review():
    assert measure_relevance(QUESTION, ANSWER, 0.2).gate is Gate.PASS
    beside = measure_relevance(QUESTION, BESIDE, 0.9)
    assert beside.gate is Gate.REVIEW
    assert isinstance(beside.relevance, float)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (QUESTION, "At ten."),
        ("And the second?", BESIDE),
        ("Summarise the harbour library's opening hours.", BESIDE),
        ("What does this document say about anything interesting?", BESIDE),
        ("", BESIDE),
    ],
)
def test_what_cannot_be_compared_is_not_measured(question, answer):
    assert measure_relevance(question, answer, 0.9).gate is Gate.NOT_MEASURED


def test_without_a_distance_there_is_no_relevance():
    why = NotScored(Reason.EMBEDDER_MISSING)
    assert measure_relevance(QUESTION, ANSWER, why).relevance == why


@given(st.floats(0, 2), st.floats(0, 2))
def test_nearer_is_never_less_relevant(first, second):
    near, far = sorted((first, second))
    nearer, farther = (measure_relevance(QUESTION, ANSWER, value).relevance for value in (near, far))
    assert 0.0 <= farther <= nearer <= 1.0


@given(st.text(max_size=200), st.text(max_size=200))
def test_shared_words_is_a_share(question, answer):
    value = shared_words(question, answer)
    assert isinstance(value, NotScored) or 0.0 <= value <= 1.0 + 1e-9


def test_the_limit_can_be_set():
    scored = measure_relevance(QUESTION, ANSWER, 0.5)
    assert isinstance(scored.relevance, float)
    assert measure_relevance(QUESTION, ANSWER, 0.5, scored.relevance + 0.001).gate is Gate.REVIEW
    assert 0.0 < load_relevance_weights().limit < 0.5


def test_a_true_answer_beside_the_question_is_to_review_and_says_so():
    snippets = (make_snippet(BESIDE, position=0),)
    report = make_monitor().measure(TurnRequest("t", QUESTION, snippets), BESIDE)
    assert report.support.gate is Gate.PASS
    assert report.verdict.gate is Gate.REVIEW
    assert any("beside the question" in reason for reason in report.verdict.reasons)


def test_relevance_waits_for_the_end_of_a_reply():
    monitor = make_monitor()
    turn = monitor.open_turn(TurnRequest("t", QUESTION, (make_snippet(BESIDE, position=0),)))
    turn.chunk(BESIDE)
    turn.close(BESIDE, Finish.COMPLETE)
    assert monitor.wait_until_idle(120)
    assert monitor.snapshot(None).turns[0].relevance.gate is Gate.REVIEW
