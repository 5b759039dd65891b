"""Snippets that another extension hands over reach the right reader, once."""

from __future__ import annotations

import sys
import threading
import types
from contextvars import ContextVar

import numpy as np
import pytest
from exllama_guard import hand_over
from exllama_guard.core.snippets import Origin
from exllama_guard.errors import UserError
from exllama_guard.host.turn.hand_over import taken_for
from exllama_guard.sources.handed_over import Inbox, snippets_from
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def served(monkeypatch):
    """Sets who is being served on this thread, as gradio does."""
    request = ContextVar("request", default=None)
    context = types.ModuleType("gradio.context")
    context.LocalContext = types.SimpleNamespace(request=request)
    monkeypatch.setitem(sys.modules, "gradio.context", context)

    def serve(username, session):
        request.set(types.SimpleNamespace(username=username, session_hash=session))

    yield serve
    for shared in (True, False):
        for who in (("ann", "1"), ("bob", "2"), (None, "3"), (None, None)):
            taken_for(None, *who, shared_host=shared)


def test_strings_and_objects_become_snippets():
    plain, full = snippets_from(
        ["One.", {"text": "Two.", "snippet_id": "x", "section_id": "S", "offsets": {"start": 5, "end": 9}}]
    )
    assert (plain.snippet_id, plain.text, plain.origin) == ("s1", "One.", Origin.HANDED_OVER)
    assert (full.snippet_id, full.section_id, full.offsets.start, full.offsets.end) == ("x", "S", 5, 9)
    assert full.derived == {"source_url"}


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (7, "Snippet 1 is int"),
        ({"txt": "x"}, "'text' is a string"),
        ({"text": "x", "url": "y"}, "Snippet 1 has url; the fields are"),
        ({"text": "x", "offsets": {"start": "a"}}, "give {'start': 0, 'end': 120}"),
    ],
)
def test_what_is_not_usable_is_told_in_a_sentence(entry, told):
    with pytest.raises(UserError, match="Snippet 1") as error:
        snippets_from([entry])
    assert told in str(error.value)


def test_a_reader_being_served_gets_them_and_nobody_else(served):
    served("ann", "1")
    assert hand_over(["For Ann."]) == 1
    assert taken_for("chat", "bob", "2", shared_host=True) == ()
    assert taken_for(None, None, None, shared_host=True) == ()
    assert [s.text for s in taken_for("chat", "ann", "1", shared_host=True)] == ["For Ann."]
    assert taken_for("chat", "ann", "1", shared_host=True) == ()


def test_from_a_thread_of_its_own_they_reach_the_one_reader_of_a_host_for_one(served):
    thread = threading.Thread(target=hand_over, args=(["For whoever is next."],))
    thread.start()
    thread.join()
    assert taken_for("chat", "ann", "1", shared_host=True) == ()
    assert [s.text for s in taken_for("chat", None, "3", shared_host=False)] == ["For whoever is next."]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 99)), max_size=60))
def test_in_any_order_every_snippet_is_given_out_once_at_its_own_address(puts):
    inbox = Inbox()
    for address, number in puts:
        inbox.put(address, snippets_from([f"{address}{number}"]))
    for address in "abc":
        expected = [f"{a}{n}" for a, n in puts if a == address]
        assert [s.text for s in inbox.take([address])] == expected
        assert inbox.take([address]) == ()


def test_what_nobody_takes_does_not_grow_without_end():
    inbox = Inbox()
    for number in range(2_000):
        inbox.put(f"chat {number}", snippets_from(["x"]))
    assert inbox.take(["chat 0"]) == ()
    assert len(inbox.take([f"chat {number}" for number in range(2_000)])) == 256


@pytest.mark.parametrize("score", ["0.9", float("nan"), float("inf"), True])
def test_a_score_that_is_no_finite_number_is_refused_where_it_is_handed_over(score):
    with pytest.raises(UserError, match="Snippet 1 has the score"):
        snippets_from([{"text": "One.", "score": score}])


def test_scores_of_a_vector_store_are_taken_as_numbers():
    found = snippets_from(
        [{"text": "One.", "score": np.float32(0.5)}, {"text": "Two.", "score": 1}, "Three."]
    )
    assert [snippet.score for snippet in found] == [0.5, 1.0, None]
