"""A locked reply is closed before its limit: valid, said to be closed, cut only where nothing fits."""

from __future__ import annotations

import json

import numpy as np
import pytest
from exllama_guard.errors import SchemaError
from exllama_guard.tools.attempts import find_attempts
from exllama_guard.tools.calls import tool_checker
from exllama_guard.tools.grammar.formats import BARE, FORMATS
from exllama_guard.tools.locks.compiled import LockPlan, compile_plan, plan_answer, plan_calls
from exllama_guard.tools.locks.ending import shortest_end
from exllama_guard.tools.locks.run import LockRun, Phase
from exllama_guard.tools.registry import tool_from_openai
from exllama_guard.tools.strict_json import read_json
from lock_material import allowed_tokens, uniform_reply

NOTE = tool_from_openai(
    {
        "name": "note",
        "parameters": {
            "type": "object",
            "properties": {
                "text": {"type": "string"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "where": {
                    "type": "object",
                    "properties": {"page": {"type": "integer"}},
                    "required": ["page"],
                },
            },
            "required": ["text"],
        },
    }
)
FLAT = {"text": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}}
CALL = '<tool_call>\n{"name": "note", "arguments": {"text": "'


@pytest.mark.parametrize("form", [*FORMATS, BARE], ids=lambda form: form.name)
def test_a_call_in_each_form_is_closed_before_the_limit(letters, form):
    tool = tool_from_openai({"name": "note", "parameters": {**NOTE.parameters, "properties": FLAT}})
    lock = compile_plan(LockPlan((tool,), (form,), True, ()), letters)
    assert not lock.unenforced
    rng = np.random.default_rng(2)
    least = shortest_end(lock.matcher(), letters, lock.text_ends)
    assert least is not None
    for times in (1.0, 1.2, 1.5, 2.0, 3.0, 5.0):
        reply, done = uniform_reply(lock, rng, int(len(least) * times), told=True)
        assert done, reply
        for attempt in find_attempts(reply.decode(), ["note"]):
            assert not attempt.broken, reply


def babble(run, tokens, count):
    """Feeds `count` times the letter x, or what must come instead; what was written."""
    out = b""
    for _ in range(count):
        mask = run.mask()
        if run.phase is Phase.DONE:
            break
        x = tokens.index(b"x")
        allowed = allowed_tokens(mask)
        token = x if x in allowed else int(allowed[0])
        out += tokens[token]
        run.feed(token)
    return out


def test_a_model_that_repeats_itself_is_closed_at_the_limit_and_then_may_only_end(letters):
    lock = compile_plan(plan_calls((NOTE,), "<tool_call>", always=False), letters)
    run = LockRun(lock, CALL.encode(), limit=200)
    reply = babble(run, letters.tokens, 300)
    assert run.closed
    assert reply.endswith(b'x"}}</tool_call>')
    assert 200 - lock.margin - 2 <= len(reply) <= 200, "what may be written is written"
    (attempt,) = find_attempts(CALL + reply.decode(), ["note"])
    assert not attempt.broken
    assert set(json.loads(attempt.arguments)["text"]) == {"x"}
    ends = allowed_tokens(run.mask())
    assert set(ends.tolist()) == set(letters.eos_ids), "no second call is begun that cannot be ended"


def test_a_call_that_ends_in_time_is_not_said_to_be_closed(letters):
    lock = compile_plan(plan_calls((NOTE,), "<tool_call>", always=False), letters)
    rest = b'Rome"}}</tool_call>'
    run = LockRun(lock, CALL.encode(), limit=len(rest) + lock.margin + 1)
    for token in rest:
        assert token in allowed_tokens(run.mask())
        run.feed(token)
    assert (run.phase, run.closed) == (Phase.FREE, False)


def test_a_whole_call_with_no_room_for_another_is_not_said_to_be_closed(letters):
    lock = compile_plan(plan_calls((NOTE,), "<tool_call>", always=True), letters)
    call = (CALL + 'Rome"}}</tool_call>\n\n').encode()  # what may come after it commits to nothing
    run = LockRun(lock, limit=len(call) + lock.again)
    for token in call:
        assert token in allowed_tokens(run.mask())
        run.feed(token)
    ends = allowed_tokens(run.mask())
    assert set(ends.tolist()) == set(letters.eos_ids)
    assert (run.phase, run.closed) == (Phase.DONE, False)


def test_below_the_shortest_call_a_reply_is_cut_as_before(letters):
    lock = compile_plan(plan_calls((NOTE,), "<tool_call>", always=False), letters)
    run = LockRun(lock, CALL.encode(), limit=8)
    assert babble(run, letters.tokens, 8) == b"x" * 8
    assert not run.closed


@pytest.mark.parametrize("shape", ["deep", "wide", "recursive", "contradictory"])
def test_a_schema_of_any_shape_gets_a_margin_or_a_reason(letters, shape):
    schema = {"type": "integer"}
    for _ in range(60 if shape == "deep" else 0):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    wide = {f"field_{number}": {"type": "string", "maxLength": 9} for number in range(3000)}
    schema = {
        "deep": schema,
        "wide": {"type": "object", "properties": wide, "required": ["field_0"]},
        "recursive": {"type": "array", "items": {"$ref": "#"}, "minItems": 0},
        "contradictory": {"type": "object", "properties": {"a": False}, "required": ["a"]},
    }[shape]
    try:
        lock = compile_plan(plan_answer(schema, ""), letters)
    except SchemaError as error:
        assert "cannot be enforced" in str(error)
        return
    assert 11 <= lock.margin < 1000
    assert shape in ("deep", "recursive")
    reply, done = uniform_reply(lock, np.random.default_rng(1), 2000, told=True)
    assert done
    assert read_json(reply.decode()).ok


def test_every_letter_of_a_pattern_gets_its_turn(letters):
    schema = {"type": "string", "pattern": "^[a-z]+q[0-9]{3}$"}
    lock = compile_plan(plan_answer(schema, ""), letters)
    end = shortest_end(lock.matcher(), letters)
    assert end is not None
    assert not tool_checker(tool_from_openai({"name": "f", "parameters": {"properties": {"a": schema}}}))(
        {"a": json.loads(bytes(end))}
    )
