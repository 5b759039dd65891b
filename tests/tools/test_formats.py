"""The call formats: which a template speaks of, and what a reply tried to call."""

from __future__ import annotations

import json

import pytest
from exllama_guard.tools.attempts import find_attempts, restore_text, without_thinking
from exllama_guard.tools.grammar.formats import formats_for_template

ARGS = '{"city": "Rome", "days": 3}'


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("", ["tagged JSON", "plain JSON", "bare name"]),
        ("{{ '<tool_call>' }}", ["tagged JSON", "bare name"]),
        ("<tool_call> <function=name>", ["XML parameters", "bare name"]),
        ("<tool_call> <arg_key>", ["GLM", "bare name"]),
        ("[TOOL_CALLS]name[ARGS]", ["Mistral", "bare name"]),
        ("<|tool_call_begin|>", ["Kimi", "bare name"]),
        ("<|channel|>analysis", ["channel", "bare name"]),
    ],
)
def test_a_template_names_its_forms(template, names):
    assert [form.name for form in formats_for_template(template)] == names


@pytest.mark.parametrize(
    "reply",
    [
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{ARGS}<｜tool▁call▁end｜>",
        f"<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{ARGS}<|tool_call_end|>",
        f"<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{ARGS}<|call|>",
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{ARGS}\n```"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        f"Sure.\n[TOOL_CALLS]get_weather[ARGS]{ARGS}",
        f"[TOOL_CALLS]get_weather[CALL_ID]a1B2c3D4e[ARGS]{ARGS}",
        f'<tool_call>\n{{"name": "get_weather", "arguments": {ARGS}}}\n</tool_call>',
        f'<tool_call>[{{"name": "get_weather", "arguments": {ARGS}}}]</tool_call>',
        f'{{"name": "get_weather", "parameters": {ARGS}}}',
        f"get_weather{ARGS}",
        f"<think>get_weather{{}} <tool_call>x</tool_call></think> get_weather {ARGS}",
    ],
)
def test_a_whole_call_is_found_in_every_form(reply):
    (attempt,) = find_attempts(reply, ["get_weather"])
    assert (attempt.name, json.loads(attempt.arguments), attempt.broken) == (
        "get_weather",
        json.loads(ARGS),
        False,
    )


@pytest.mark.parametrize(
    "reply",
    [
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Ro',
        '<tool_call>Let me see: {"name": "get_weather", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "get_weather", "arguments": {"a": 1, "a": 2}}</tool_call>',
        '[TOOL_CALLS]get_weather[ARGS]{"city": ',
        "<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>city Rome<｜tool▁call▁end｜>",
        'get_weather{"city": NaN}',
    ],
)
def test_a_broken_call_is_found_and_marked(reply):
    (attempt,) = find_attempts(reply, ["get_weather"])
    assert (attempt.name, attempt.broken) == ("get_weather", True)


@pytest.mark.parametrize(
    "reply", ["", "It is sunny.", "I could use get_weather here.", '{"temperature": 3}', "a < b"]
)
def test_prose_is_no_call(reply):
    assert find_attempts(reply, ["get_weather"]) == ()


@pytest.mark.parametrize(
    "reply",
    [
        '<|tool_call>call:get_weather{city:<|"|>Rome<|"|>}<tool_call|>',
        "<tool_call>get_weather\n<arg_key>city</arg_key><arg_value>a {b</arg_value></tool_call>",
    ],
)
def test_a_call_whose_arguments_are_not_json_is_not_taken_for_broken_json(reply):
    assert find_attempts(reply, ["get_weather"]) == ()


def test_a_closing_mark_inside_a_text_is_text_and_that_is_told():
    call = '<tool_call>{"name": "note", "arguments": {"text": "ends with </tool_call> they say"}}</tool_call>'
    first, second = find_attempts(call + " and " + call.replace(" </tool_call> they say", ""), ["note"])
    assert not first.broken
    assert json.loads(first.arguments) == {"text": "ends with </tool_call> they say"}
    assert "</tool_call>" in first.repaired
    assert (second.broken, second.repaired) == (False, "")


def test_two_calls_in_one_envelope_are_two():
    lines = '<tool_call>{"name": "a", "arguments": {}}\n{"name": "b", "arguments": {"x": 1}}</tool_call>'
    assert [attempt.name for attempt in find_attempts(lines, [])] == ["a", "b"]


def test_thinking_is_left_out_also_while_it_is_open():
    assert (
        without_thinking("a<think>b</think>c<think>d") == "c" or without_thinking("<think>b</think>c") == "c"
    )
    assert without_thinking("<think>only this") == ""
    assert without_thinking("no start here</think>answer") == "answer"


def test_text_between_tags_is_put_back_where_the_schema_wants_text():
    reply = "<tool_call><function=f><parameter=zip>94103</parameter><parameter=n>5</parameter></function>"

    def fits(key, value):
        return isinstance(value, str if key == "zip" else int)

    assert restore_text(reply, "f", {"zip": 94103, "n": 5}, fits) == {"zip": "94103", "n": 5}
