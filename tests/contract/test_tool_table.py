"""Each cell of the table in docs/tools.md against what a model with uniform logits writes under the lock.

llama.cpp's grammars are those that its own converter (common/json-schema-to-grammar.cpp, 2026-10) made of the
schemas that the server is sent; they are sampled here as the server would.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from exllama_guard.errors import SchemaError
from exllama_guard.tools.calls import tool_checker
from exllama_guard.tools.grammar.closed import close_schema
from exllama_guard.tools.locks.bans import NO_TOKENS
from exllama_guard.tools.locks.compiled import CompiledLock, compile_plan, plan_answer
from exllama_guard.tools.locks.vocabulary import byte_vocabulary
from exllama_guard.tools.registry import tool_from_openai
from exllama_guard.tools.strict_json import read_json
from lock_material import uniform_reply
from make_tool_table import NAMES, PAGE, cell, written
from schema_cases import CASES

RECORDED = json.loads(Path(__file__).with_name("llama_schemas_recorded.json").read_text(encoding="utf-8"))
REPLIES, TOKENS = 12, 260
# Texts that llama.cpp's grammar for any text and number lets through, told under the table.
ANY_TEXT = {"bad_text", "number_too_large"}
TWICE = ('{"p": {"zz": 1, "zz": 1}}', '{"p": {"x_y": null, "x_y": null}}')


@pytest.fixture(scope="module")
def letters():
    return byte_vocabulary()


def local_lock(case, vocabulary):
    schema = close_schema(tool_from_openai({"name": "f", "parameters": case.parameters}).parameters)
    try:
        return compile_plan(plan_answer(schema, ""), vocabulary)
    except SchemaError:
        return None


def server_lock(case, vocabulary):
    from llguidance import LLMatcher
    from llguidance.gbnf_to_lark import gbnf_to_lark

    if "error" in RECORDED[case.keyword]:
        return None
    grammar = gbnf_to_lark(RECORDED[case.keyword]["grammar"])
    matcher = LLMatcher(vocabulary.ll_tokenizer, LLMatcher.grammar_from_lark(grammar), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    return CompiledLock(vocabulary, grammar, True, (), (), {}, 30, 0, (), matcher, NO_TOKENS)


def takes(lock, text):
    matcher = lock.matcher()
    return matcher.consume_tokens(lock.vocabulary.ll_tokenizer.tokenize_str(text)) and matcher.is_accepting()


def as_call(value):
    return json.dumps({"p": value}, ensure_ascii=False)


def assert_uniform_replies_fit(lock, check, where):
    rng, ended = np.random.default_rng(4), 0
    for _ in range(REPLIES):
        reply, done = uniform_reply(lock, rng, TOKENS, told=True)
        if not done:
            continue
        ended += 1
        read = read_json(reply.decode("utf-8", "replace"))
        if where == "llama.cpp" and {problem.code for problem in read.problems} & ANY_TEXT:
            continue
        assert read.ok, (read.problems, reply)
        assert not check(read.value), (check(read.value), reply)
    assert ended >= REPLIES // 2, "so few replies ended that they say little"


@pytest.mark.parametrize("where", ["Transformers", "llama.cpp"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.keyword)
def test_a_cell_says_what_uniform_replies_do(letters, case, where):
    tool = tool_from_openai({"name": "f", "parameters": case.parameters})
    promised = cell(case, where)
    if promised == "refused":
        with pytest.raises(SchemaError):
            tool_checker(tool)
        return
    check = tool_checker(tool)
    for value in case.good:
        assert not check({"p": value})
    for value in case.bad:
        assert check({"p": value})
    lock = (server_lock if where == "llama.cpp" else local_lock)(case, letters)
    if lock is None:
        assert promised == "checked"
        return
    for value in case.good:
        assert takes(lock, as_call(value)), "narrower than the schema"
    if promised == "checked":
        loose = [value for value in case.bad if takes(lock, as_call(value))]
        assert loose or any(takes(lock, text) for text in TWICE), (
            "all of it is held: it may be called enforced"
        )
        return
    for value in case.bad:
        assert not takes(lock, as_call(value)), "wider than the schema"
    assert_uniform_replies_fit(lock, check, where)


def test_the_table_stands_in_the_documentation():
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page), "run python tests/make_tool_table.py"
    assert all(name in page for name in NAMES)
