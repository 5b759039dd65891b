"""How an answer is cut into segments: as a person reads it, without a word lost."""

from __future__ import annotations

import re

import pytest
from exllama_guard.grounding.segments import Form, segments_of
from hypothesis import given, settings
from hypothesis import strategies as st


def cut(text: str, language: str = "en") -> list[tuple[Form, str]]:
    return [(one.form, text[one.start : one.end]) for one in segments_of(text, language)]


def test_each_thing_on_the_page_has_its_form() -> None:
    text = (
        "# Title\n\nOne. Two.\n\nSteps:\n1. First\n- second\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "```sh\nls -l\n```\n\nSource: handbook"
    )
    assert cut(text) == [
        (Form.HEADING, "Title"),
        (Form.PROSE, "One."),
        (Form.PROSE, "Two."),
        (Form.LEAD_IN, "Steps:"),
        (Form.ITEM, "First"),
        (Form.ITEM, "second"),
        (Form.TABLE_HEAD, "a | b"),
        (Form.ROW, "1 | 2"),
        (Form.CODE, "ls -l"),
        (Form.SOURCE, "Source: handbook"),
    ]


def test_a_numbered_step_in_brackets_is_an_item_and_a_footnote_is_a_source() -> None:
    assert cut("(1) Press the key") == [(Form.ITEM, "Press the key")]
    assert cut("[1] Handbook, page 3") == [(Form.SOURCE, "[1] Handbook, page 3")]


def test_a_line_wrapped_by_hand_goes_on_and_a_short_line_does_not() -> None:
    wrapped = "The water level must be checked every day before\nthe pump is started."
    assert cut(wrapped) == [(Form.PROSE, wrapped)]
    assert [text for _, text in cut("Monday\nTuesday")] == ["Monday", "Tuesday"]


@pytest.mark.parametrize("mark", ["[1]", "[^2]", "(s1)", "【1†source】"])
def test_a_citation_behind_the_full_stop_belongs_to_its_sentence(mark: str) -> None:
    assert len(cut(f"It is tall. {mark}\n\nIt is wide.")) == 2


def test_a_long_paragraph_without_white_space_is_cut_in_time() -> None:
    assert len(segments_of("不可以。" * 25000, "zh")) == 25000


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab1 .:|-#*`>\n\t？。é不[]()", max_size=200))
def test_segments_are_in_order_and_lose_no_word(text: str) -> None:
    at = 0
    left = []
    for one in segments_of(text):
        assert at <= one.start < one.end <= len(text)
        left.append(text[at : one.start])
        at = one.end
    left.append(text[at:])
    lost = re.findall(r"[^\W\d_]{2,}", "\n".join(part for part in left if "`" not in part))
    assert lost == []
