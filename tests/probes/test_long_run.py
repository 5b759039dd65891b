"""A chat by turn: slope, steps, repetition and topic loss stand beside each turn; gaps are reasons."""

from __future__ import annotations

import dataclasses

import pytest
from exllama_guard.core.measures import Gate, NotScored
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import TurnRequest
from exllama_guard.probes.measures.long_run import long_run_of, topic_loss_of
from exllama_guard.probes.measures.resonance import Trend
from exllama_guard.probes.measures.stability import RunState
from exllama_guard.testing import FakeEmbedder, scored

SNIPPETS = (make_snippet("The cache holds 8192 tokens.", position=0),)


def turn(number, answer="The cache holds 8192 tokens.", question="How large is the cache?"):
    request = TurnRequest(f"t{number}", question, SNIPPETS, chat_id="c", started_at_s=float(number))
    return scored(request, answer)


def at(number, distance):
    made = turn(number)
    context = dataclasses.replace(made.distances.answer_context, min=distance)
    return dataclasses.replace(made, distances=dataclasses.replace(made.distances, answer_context=context))


def run(turns):
    return long_run_of(turns, 5, lambda one: topic_loss_of(one, FakeEmbedder()))


def test_a_rising_chat_is_told_by_turn_and_as_a_whole():
    found = run([at(i, 0.10 + 0.05 * i) for i in range(12)])
    assert isinstance(found.trend, Trend)
    assert found.trend.gate is Gate.FAIL
    assert found.trend.slope == pytest.approx(0.05, abs=0.005)
    assert [signs.step for signs in found.turns[:2]] == [None, RunState.CHAOTIC]
    assert found.turns[-1].resonance == pytest.approx(0.10 + 0.05 * 9)
    assert found.chat_id == "c"


def test_few_turns_have_no_slope_and_no_turns_no_chat():
    assert isinstance(run([at(1, 0.2)]).trend, NotScored)
    assert run([]).turns == ()


def test_a_loop_and_a_lost_topic_stand_at_their_turn():
    loop = turn(1, "the cache is full and " * 6)
    lost = turn(2, "The cache is large. It is a cache. Penguins swim. Penguins eat fish.")
    found = run([loop, lost])
    assert found.turns[0].repetition.loop_count >= 3
    assert found.turns[1].repetition.loop == ""
    assert isinstance(topic_loss_of(turn(3, question=""), FakeEmbedder()), NotScored)


def test_a_turn_without_values_is_a_gap_with_its_reason():
    found = run([at(1, 0.2), turn(2, ""), at(3, 0.2)])
    assert isinstance(found.turns[1].distance, NotScored)
    assert isinstance(found.turns[1].repetition, NotScored)
    assert found.turns[1].resonance == pytest.approx(0.2)
    assert found.turns[2].step is None
