"""Coverage and bleed, with and without offsets."""

from __future__ import annotations

import pytest
from exllama_guard.core.measures import NotScored, Reason
from exllama_guard.core.snippets import Offsets, make_snippet
from exllama_guard.core.turns import AnchorKind
from exllama_guard.grounding.coverage import interval_recall, measure_coverage
from hypothesis import given
from hypothesis import strategies as st

spans = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda p: (min(p), max(p)))


@given(st.tuples(st.integers(0, 40), st.integers(1, 20)), st.lists(spans, max_size=6))
def test_interval_recall_is_the_share_of_covered_points(start_length, others):
    start, length = start_length
    inside = {p for left, right in others for p in range(left, right) if start <= p < start + length}
    assert interval_recall((start, start + length), others) == pytest.approx(len(inside) / length)


def piece(text, start, *, section="a", position=0):
    return make_snippet(
        text,
        position=position,
        snippet_id=f"s{position}",
        section_id=section,
        source_url="doc.md",
        offsets=Offsets(start, start + len(text)),
    )


def test_offsets_of_one_source_are_compared_as_intervals():
    anchor = piece("x" * 100, 50)
    result = measure_coverage(
        [piece("x" * 100, 0), piece("x" * 20, 100, position=1)],
        cited=(),
        anchor=anchor,
        anchor_kind=AnchorKind.GIVEN,
    )
    assert result.method == "intervals"
    assert result.coverage == pytest.approx(0.7)
    assert result.bleed == NotScored(Reason.NO_CITATIONS)


def test_without_offsets_the_anchors_words_are_found_in_order():
    anchor = make_snippet("the cache holds 8192 tokens", position=0)
    retrieved = make_snippet("in short, the cache holds about 8192 of them", position=0)
    result = measure_coverage([retrieved], cited=(), anchor=anchor, anchor_kind=AnchorKind.GIVEN)
    assert (result.method, result.coverage) == ("lcs", pytest.approx(0.8))


def test_bleed_is_the_share_of_cited_tokens_from_elsewhere():
    anchor = piece("one two three four", 0, section="a")
    inside, outside = piece("one two three", 0), piece("five", 40, section="b", position=1)
    result = measure_coverage([inside, outside], cited=(0, 1), anchor=anchor, anchor_kind=AnchorKind.GIVEN)
    assert result.bleed == pytest.approx(0.25)


def test_a_stand_in_anchor_without_citations_measures_nothing():
    snippet = piece("one two", 0)
    result = measure_coverage([snippet], cited=(), anchor=snippet, anchor_kind=AnchorKind.PROXY)
    assert isinstance(result.coverage, NotScored)


def test_nothing_to_measure_says_why():
    assert measure_coverage([], cited=(), anchor=None, anchor_kind=None).coverage == NotScored(
        Reason.NO_SNIPPETS
    )
    snippet = piece("one", 0)
    assert measure_coverage([snippet], cited=(), anchor=None, anchor_kind=None).coverage == NotScored(
        Reason.NO_ANCHOR
    )
    wordless = make_snippet("…", position=0)
    result = measure_coverage([snippet], cited=(), anchor=wordless, anchor_kind=AnchorKind.GIVEN)
    assert result.coverage == NotScored(Reason.NO_ANCHOR, "the anchor has no words")
