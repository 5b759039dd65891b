"""The afternoon's 60 turns on every host: each is seen whole, in its own chat, with what it was asked.

How each is judged is printed by `afternoon.py`; here stands only what holds whatever the judge says.
"""

from __future__ import annotations

import pytest
from e2e.afternoon import lines, lived
from e2e.afternoon_texts import CUT, TURNS
from webui_hosts import hosts


@pytest.fixture(scope="module", params=hosts())
def afternoon(request):
    told = lived(*request.param)
    print("\n".join(lines(request.node.name, told)))
    return told


def test_every_turn_is_seen_with_its_own_question_and_answer(afternoon):
    assert [number for number, told in afternoon.items() if told["gate"] is None] == []
    assert sorted(afternoon) == [turn.number for turn in TURNS]
    for turn in TURNS:
        told = afternoon[turn.number]
        assert told["question"] == turn.asked, turn.number
        if turn.truth is not CUT:
            assert told["answer"].strip().endswith(turn.answer.strip()), turn.number


def test_a_reply_that_was_stopped_is_not_complete(afternoon):
    stopped = {turn.number for turn in TURNS if afternoon[turn.number]["finish"] == "stopped"}
    assert stopped == {turn.number for turn in TURNS if turn.way == "stop"}


def test_an_attached_file_stays_a_source_of_its_chat_alone(afternoon):
    with_file = {n for n, told in afternoon.items() if any("attachment" in s[0] for s in told["snippets"])}
    assert with_file == {turn.number for turn in TURNS if turn.chat == "m"}
