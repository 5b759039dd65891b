"""Thinking blocks and tool calls of the families of models that the host knows."""

from __future__ import annotations

import pytest
from exllama_guard.grounding.reply_text import answer_of, is_tool_call
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("Plain answer.", "Plain answer."),
        ("  Plain answer.", "  Plain answer."),
        ("<think>a\nb</think>\n\nAnswer.", "Answer."),
        ("<think>still going", ""),
        ("thinking that began in the prompt</think>Answer.", "Answer."),
        (
            "<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>Answer.",
            "Answer.",
        ),
        ("[THINK]x[/THINK]Answer.", "Answer."),
        ("<seed:think>x</seed:think>Answer.", "Answer."),
        ("Use the <think> tag.", "Use the <think> tag."),
        ("", ""),
    ],
)
def test_thinking_is_left_out(reply, answer):
    assert answer_of(reply) == answer


@given(st.text(alphabet=st.characters(exclude_characters="<[|"), max_size=50))
def test_a_reply_without_tags_is_its_answer(text):
    assert answer_of(text) == text


@given(st.text(max_size=80))
def test_the_answer_is_an_end_of_the_reply(text):
    assert text.endswith(answer_of(text))


@pytest.mark.parametrize(
    "call",
    [
        '<tool_call>\n{"name": "x", "arguments": {}}\n</tool_call>',
        '[TOOL_CALLS][{"name": "x", "arguments": {}}]',
        '<think>I need it</think>{"name": "x", "arguments": {}}',
        '<|python_tag|>{"name": "x"}',
        "<function=x>{}</function>",
        'get_weather{"city": "Oslo"}',
        'get_weather {"city": "Oslo"}',
    ],
)
def test_a_tool_call_is_known(call):
    assert is_tool_call(call)


@pytest.mark.parametrize(
    "text", ["The function {name} is called.", "Call x(1).", "", "<p>Hello</p>", "Oslo {is} cold."]
)
def test_prose_is_no_tool_call(text):
    assert not is_tool_call(text)
