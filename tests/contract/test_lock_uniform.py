"""A model with uniform logits under a lock: whatever it writes, and wherever it is closed, is valid."""

from __future__ import annotations

import numpy as np
import pytest
from exllama_guard.errors import SchemaError
from exllama_guard.tools.attempts import find_attempts
from exllama_guard.tools.calls import tool_checker
from exllama_guard.tools.grammar.closed import close_schema
from exllama_guard.tools.grammar.formats import BARE, FORMATS
from exllama_guard.tools.locks.compiled import LockPlan, compile_plan, plan_answer
from exllama_guard.tools.locks.ending import shortest_end
from exllama_guard.tools.strict_json import read_json
from lock_material import random_tools, uniform_reply


def assert_valid(text, check):
    read = read_json(text)
    assert read.ok, (read.problems, text)
    assert not check(read.value), (check(read.value), text)


@pytest.mark.parametrize("form", [*FORMATS, BARE], ids=lambda form: form.name)
def test_uniform_logits_write_only_calls_that_the_validator_takes(letters, form):
    """In the JSON forms, what a model with uniform logits writes under the lock is valid; 20 schemas each."""
    rng = np.random.default_rng(11)
    finished = 0
    for tool in random_tools(200)[::10]:
        plan = LockPlan((tool,), (form,), True, ())
        try:
            lock = compile_plan(plan, letters)
        except SchemaError:
            continue  # this form cannot carry these arguments
        reply, done = uniform_reply(lock, rng)
        if not done or tool.name in lock.unenforced:
            continue
        finished += 1
        if form.head is None and form.body is None and form is not BARE:
            continue  # not JSON: the host's reading of it is tried in test_tool_guard
        text = reply.decode()
        check = tool_checker(tool)
        start = text.find("{") if form.name != "plain JSON" else 0
        attempts = find_attempts(text, [tool.name]) if form.name != "plain JSON" else ()
        assert start >= 0
        for attempt in attempts:
            assert not attempt.broken, text
            assert_valid(attempt.arguments, check)
    assert finished >= 5


def test_two_thousand_uniform_answers_over_two_hundred_schemas_are_all_valid(letters):
    """The bench writes 10,000 (tests/bench/schema_speed.py); 2,000 keep the suite short."""
    rng = np.random.default_rng(5)
    unfinished = 0
    for tool in random_tools(200):
        schema = close_schema(tool.parameters)
        lock = compile_plan(plan_answer(schema, ""), letters)
        check = tool_checker(tool)
        for _ in range(10):
            reply, done = uniform_reply(lock, rng)
            if not done:
                unfinished += 1
                continue
            assert_valid(reply.decode(), check)
    assert unfinished <= 40, "so many replies did not end that the check says little"


@pytest.mark.parametrize("times", [1.0, 2.0, 4.0])
def test_at_tight_limits_all_uniform_answers_over_two_hundred_schemas_are_valid(letters, times):
    rng = np.random.default_rng(8)
    for tool in random_tools(200):
        lock = compile_plan(plan_answer(close_schema(tool.parameters), ""), letters)
        least = shortest_end(lock.matcher(), letters)
        assert least is not None
        check = tool_checker(tool)
        for _ in range(3):
            reply, done = uniform_reply(lock, rng, int(len(least) * times), told=True)
            assert done, (len(least), lock.margin, reply, tool.parameters)
            assert_valid(reply.decode(), check)
