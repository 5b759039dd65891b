"""Passages are exact ranges that lose nothing."""

from __future__ import annotations

import pytest
from exllama_guard.grounding.passages import split_passages
from hypothesis import given
from hypothesis import strategies as st

SENTENCE = "The fence waits for two equal runs, and then it lets the reader's request pass. "


def test_a_short_text_is_one_passage_without_its_outer_blanks():
    (passage,) = split_passages("  One sentence. Another one.\n")
    assert (passage.start, passage.end) == (2, 28)


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_a_blank_text_has_no_passage(text):
    assert split_passages(text) == ()


def test_a_long_text_is_cut_at_sentence_ends_near_the_wished_length():
    text = SENTENCE * 60
    passages = split_passages(text)
    assert len(passages) > 5
    for passage in passages:
        words = len(text[passage.start : passage.end].split())
        assert words <= 120
        assert text[passage.start : passage.end].endswith("pass.")
    assert all(len(text[p.start : p.end].split()) > 100 for p in passages[:-1])


@pytest.mark.parametrize("text", ["word " * 5000, "x" * 50_000, "文" * 9_000, "一句话。" * 3_000])
def test_a_text_without_sentence_ends_is_still_cut(text):
    passages = split_passages(text)
    assert len(passages) > 5
    assert max(passage.end - passage.start for passage in passages) <= 1_200


@given(
    st.text(alphabet=st.sampled_from("ab .!?\n\t\"'。é😀\u2028"), max_size=400),
    st.integers(1, 20),
    st.integers(0, 20),
)
def test_passages_are_in_order_disjoint_not_blank_and_hold_every_character(text, words, whole):
    passages = split_passages(text, words_per_passage=words, whole_up_to=whole)
    at = 0
    for passage in passages:
        assert at <= passage.start < passage.end
        assert text[at : passage.start].strip() == ""
        piece = text[passage.start : passage.end]
        assert piece == piece.strip()
        at = passage.end
    assert text[at:].strip() == ""


def test_a_megabyte_is_cut_without_loss():
    text = SENTENCE * 13_000
    passages = split_passages(text)
    assert len(text) > 1_000_000
    assert sum(len(p) for p in passages) > 1_000_000
