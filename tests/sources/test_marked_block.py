"""The marked block: what is written is what is read back."""

from __future__ import annotations

import pytest
from exllama_guard.core.snippets import Offsets, Origin, make_snippet
from exllama_guard.sources.marked_block import (
    CLOSING,
    OPENING,
    find_blocks,
    format_block,
    parse_snippets,
    without_blocks,
)
from hypothesis import example, given
from hypothesis import strategies as st

HEADER = '[s1] section_id="a" source="b" start=0 end=1'
tricky = st.sampled_from(
    [
        OPENING,
        CLOSING,
        HEADER,
        "[s2]",
        "\\[s2]",
        "\\" + CLOSING,
        "x " + OPENING,
        "",
        "\r",
        "[s1] text",
        '["q"]',
    ]
)
texts = st.lists(st.one_of(tricky, st.text(max_size=30)), max_size=6).map("\n".join)


@st.composite
def snippets(draw):
    start = draw(st.integers(0, 10**6))
    return make_snippet(
        draw(texts),
        position=0,
        snippet_id=draw(st.text(min_size=1, max_size=12)),
        section_id=draw(st.text(min_size=1, max_size=12)),
        source_url=draw(st.text(min_size=1, max_size=12)),
        offsets=Offsets(start, start + draw(st.integers(0, 10**6)), draw(st.sampled_from(["char", "token"]))),
        origin=Origin.MARKED_BLOCK,
    )


@given(st.lists(snippets(), max_size=5))
def test_what_was_written_is_read_back(written):
    block = format_block(written)
    (found,) = find_blocks(block)
    assert found.snippets == tuple(written)
    assert found.problems == ()
    assert (found.span.start, found.span.end) == (0, len(block))


@given(st.lists(snippets(), min_size=1, max_size=3), st.lists(snippets(), min_size=1, max_size=3))
def test_two_blocks_inside_a_chat_template_are_both_found(first, second):
    prompt = (
        f"<|im_start|>user {format_block(first)}<|im_end|>\nmiddle\n"
        f"<|im_start|>user\n{format_block(second)}\n\nWhy?<|im_end|>"
    )
    one, two = find_blocks(prompt)
    assert one.snippets == tuple(first)
    assert two.snippets == tuple(second)
    assert prompt[one.span.start :].startswith(OPENING)
    assert "middle" in without_blocks(prompt)
    assert OPENING not in without_blocks(prompt)


@given(st.text(max_size=200))
@example(OPENING)
@example(OPENING + "\n" + HEADER)
@example(OPENING + "\n" + CLOSING)
@example(CLOSING + "\n" + OPENING + "\n\\" + CLOSING)
def test_any_text_can_be_read_without_an_error(text):
    for block in find_blocks(text):
        assert text[block.span.start : block.span.end].startswith(OPENING)
        assert text[block.span.start : block.span.end].endswith(CLOSING)


def test_a_block_written_by_hand_needs_only_an_id():
    (snippet,) = parse_snippets(f"{OPENING}\n[manual]\nTwo\nlines\n{CLOSING}\nQuestion?")
    assert snippet.snippet_id == "manual"
    assert snippet.text == "Two\nlines"
    assert snippet.derived == {"section_id", "source_url", "offsets"}


def test_a_block_that_never_closes_is_left_alone():
    text = f"{OPENING}\n{HEADER}\ntext\nQuestion?"
    assert find_blocks(text) == ()
    assert without_blocks(text) == text


def test_a_cut_block_before_a_whole_one_does_not_swallow_it():
    whole = f"{OPENING}\n[b]\nwhole\n{CLOSING}"
    (block,) = find_blocks(f"{OPENING}\n[a]\ncut\n{whole}")
    assert [s.text for s in block.snippets] == ["whole"]


@pytest.mark.parametrize("header", ["[a] start=9 end=3", "[a] start=9", '[a] start="x" end=3'])
def test_bad_offsets_are_named_and_derived(header):
    (block,) = find_blocks(f"{OPENING}\n{header}\ntext\n{CLOSING}")
    assert block.snippets[0].offsets == Offsets(0, 4)
    assert "start" in block.problems[0] and "a" in block.problems[0]


def test_text_before_the_first_header_is_reported():
    (block,) = find_blocks(f"{OPENING}\nstray\n[a]\ntext\n{CLOSING}")
    assert [s.text for s in block.snippets] == ["text"]
    assert "1 line(s)" in block.problems[0]


def test_without_blocks_leaves_the_question():
    block = format_block([make_snippet("x", position=0)])
    assert without_blocks(f"{block}\n\nWhat is ΔS?") == "What is ΔS?"
