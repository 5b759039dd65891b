"""ΔS: range, symmetry, zones, gate, aggregation."""

from __future__ import annotations

import numpy as np
import pytest
from exllama_guard.core.measures import Gate, NotScored, Reason, Zone
from exllama_guard.core.snippets import Origin, make_snippet
from exllama_guard.errors import EmbedderError
from exllama_guard.grounding.similarity import (
    cosine_distance,
    distance_gate,
    first_choices,
    measure_distances,
    pair_distance,
    zone_of,
)
from exllama_guard.testing import FakeEmbedder
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

vectors = arrays(np.float32, 4, elements=st.floats(-10, 10, width=32))


@given(vectors, vectors)
def test_distance_is_symmetric_and_in_range(a, b):
    forth, back = cosine_distance(a, b), cosine_distance(b, a)
    assert forth == back
    if not isinstance(forth, NotScored):
        assert 0.0 <= forth <= 2.0


@given(vectors)
def test_distance_to_itself_is_zero_or_not_scored(a):
    distance = cosine_distance(a, a)
    if np.linalg.norm(a) == 0:
        assert distance == NotScored(Reason.ZERO_VECTOR)
    else:
        assert distance == pytest.approx(0.0, abs=1e-5)


@given(vectors, vectors, st.floats(0.5, 100))
def test_distance_ignores_length(a, b, factor):
    plain, scaled = cosine_distance(a, b), cosine_distance(a * np.float32(factor), b)
    if not isinstance(plain, NotScored):
        assert scaled == pytest.approx(plain, abs=1e-4)


@pytest.mark.parametrize(
    ("distance", "zone"),
    [
        (0.0, Zone.SAFE),
        (0.3999, Zone.SAFE),
        (0.40, Zone.TRANSIT),
        (0.5999, Zone.TRANSIT),
        (0.60, Zone.RISK),
        (0.8499, Zone.RISK),
        (0.85, Zone.DANGER),
        (2.0, Zone.DANGER),
        (NotScored(Reason.NO_SNIPPETS), None),
    ],
)
def test_zones_are_closed_below(distance, zone):
    assert zone_of(distance) is zone


@pytest.mark.parametrize(
    ("distance", "gate"),
    [
        (0.45, Gate.PASS),
        (0.4501, Gate.REVIEW),
        (0.5999, Gate.REVIEW),
        (0.60, Gate.FAIL),
        (NotScored(Reason.NO_QUESTION), Gate.NOT_MEASURED),
    ],
)
def test_gate_follows_its_limits(distance, gate):
    assert distance_gate(distance) is gate


def test_aggregates_of_three_snippets():
    a, b, c = np.eye(3, dtype=np.float32)
    pair = pair_distance(a, np.stack([b, a, c]), first=(0,), cited=(1, 2))
    assert pair.each == (1.0, 0.0, 1.0)
    assert (pair.top1, pair.min, pair.cited) == (1.0, 0.0, 0.5)
    assert pair.mean == pytest.approx(2 / 3)


def test_no_citation_is_not_scored():
    a = np.eye(2, dtype=np.float32)
    assert pair_distance(a[0], a, first=(0,), cited=()).cited == NotScored(Reason.NO_CITATIONS)


def test_first_choices_follow_scores_then_order_and_never_a_files_order():
    scored = [make_snippet("a", position=0, score=0.1), make_snippet("b", position=1, score=0.9)]
    assert first_choices(scored) == (1,)
    listed = [make_snippet(text, position=0, origin=Origin.KNOWLEDGE) for text in "ab"]
    assert first_choices(listed) == (0,)
    pages = [make_snippet(text, position=0, origin=Origin.ATTACHMENT) for text in "ab"]
    assert first_choices(pages) == (0, 1)


def test_of_two_sources_the_nearer_first_choice_counts():
    folder = [
        make_snippet(text, position=0, score=score, origin=Origin.KNOWLEDGE)
        for text, score in (("a", 0.9), ("b", 0.2))
    ]
    pages = [make_snippet(text, position=0, origin=Origin.ATTACHMENT) for text in "cd"]
    assert sorted(first_choices([*folder, *pages])) == [0, 2, 3]
    a, b, c, d = np.eye(4, dtype=np.float32)
    pair = pair_distance(d, [a, b, c, d], first=first_choices([*folder, *pages]), cited=())
    assert pair.top1 == pytest.approx(0.0)


@given(
    st.lists(st.tuples(st.sampled_from(list(Origin)), st.none() | st.floats(0, 1)), min_size=1, max_size=8)
)
def test_every_source_has_a_first_choice(drawn):
    snippets = [make_snippet("x", position=0, origin=origin, score=score) for origin, score in drawn]
    chosen = first_choices(snippets)
    assert len(set(chosen)) == len(chosen)
    assert {snippets[index].origin for index in chosen} == {snippet.origin for snippet in snippets}


def test_a_files_passages_are_gated_on_the_nearest():
    pages = [make_snippet(text, position=i, origin=Origin.ATTACHMENT) for i, text in enumerate(["b", "a"])]
    measured = measure_distances("a", "a", pages, cited=(), anchor=None, embedder=FakeEmbedder())
    assert measured.question_context.top1 == pytest.approx(0.0, abs=1e-6)


def test_missing_inputs_are_named_not_zeroed():
    snippets = [make_snippet("the cache", position=0)]
    measured = measure_distances("", "", snippets, cited=(), anchor=None, embedder=FakeEmbedder())
    assert measured.question_context.top1 == NotScored(Reason.NO_QUESTION)
    assert measured.answer_context.top1 == NotScored(Reason.EMPTY_ANSWER)
    assert measured.context_anchor == NotScored(Reason.NO_ANCHOR)
    assert measured.question_answer == NotScored(Reason.NO_QUESTION)
    none = measure_distances("q", "a", [], cited=(), anchor=None, embedder=FakeEmbedder())
    assert none.gated == NotScored(Reason.NO_SNIPPETS)


def test_no_embedder_and_a_failing_one_are_told_apart():
    snippets = [make_snippet("the cache", position=0)]
    missing = measure_distances("q", "a", snippets, cited=(), anchor=None, embedder=None)
    assert missing.gated == NotScored(Reason.EMBEDDER_MISSING)
    failing = FakeEmbedder(error=EmbedderError("no model in /models; name one"))
    failed = measure_distances("q", "a", snippets, cited=(), anchor=None, embedder=failing)
    assert failed.gated == NotScored(Reason.EMBEDDER_FAILED, "no model in /models; name one")


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_not_scored_and_never_near(broken):
    bad, good = np.array([broken, 1.0], dtype=np.float32), np.array([0.0, 1.0], dtype=np.float32)
    for distance in (cosine_distance(bad, good), cosine_distance(good, bad), cosine_distance(bad, bad)):
        assert isinstance(distance, NotScored)
        assert distance.reason is Reason.EMBEDDER_FAILED


def test_an_answer_counts_by_its_sentences_and_a_growing_one_costs_the_new_sentence_only():
    class Counting(FakeEmbedder):
        def __init__(self):
            super().__init__()
            self.seen = []

        def embed(self, texts):
            self.seen += texts
            return super().embed(texts)

    embedder = Counting()
    snippets = [make_snippet("cache", position=0)]
    answer = "The cache is full. Nothing else is known."
    measured = measure_distances("q", answer, snippets, cited=(), anchor=None, embedder=embedder)
    assert answer not in embedder.seen
    assert {"The cache is full.", "Nothing else is known."} <= set(embedder.seen)
    assert 0.0 < measured.answer_context.top1 < 1.0
    one = measure_distances("q", "The cache.", snippets, cited=(), anchor=None, embedder=embedder)
    whole = measure_distances("q", "The cache. " * 3, snippets, cited=(), anchor=None, embedder=embedder)
    assert whole.answer_context.top1 == pytest.approx(one.answer_context.top1, abs=1e-6)
