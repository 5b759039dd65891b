"""Schemas of public reports on constrained decoding, with instances that fit and that do not.

They lie beside the checkout (`data/reported_schemas.jsonl` under GUARDRAILS_SHARED_DIR); this skips without.
"""

from __future__ import annotations

import json

import pytest
from conftest import SHARED
from exllama_guard.errors import SchemaError
from exllama_guard.tools.calls import tool_checker
from exllama_guard.tools.grammar.closed import close_schema
from exllama_guard.tools.locks.compiled import compile_plan, plan_answer
from exllama_guard.tools.locks.vocabulary import byte_vocabulary
from exllama_guard.tools.registry import tool_from_openai
from exllama_guard.tools.strict_json import read_json

FILE = SHARED / "data" / "reported_schemas.jsonl"
ROWS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()] if FILE.is_file() else []
MANY = {"type": "object", "properties": {"p": {"enum": [f"value-{n:05}" for n in range(6000)]}}}


@pytest.fixture(scope="module")
def letters():
    return byte_vocabulary()


def test_the_reported_schemas_are_there(shared_dir):
    assert len(ROWS) == 36


def lock_of(tool, vocabulary):
    try:
        return compile_plan(plan_answer(close_schema(tool.parameters), ""), vocabulary)
    except SchemaError:
        return None


def takes(lock, text):
    matcher = lock.matcher()
    return matcher.consume_tokens(lock.vocabulary.ll_tokenizer.tokenize_str(text)) and matcher.is_accepting()


def plain(value):
    """Whole numbers without a fraction, as a lock spells them."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_a_reported_schema_takes_what_fits_and_nothing_else(letters, row):
    schema = {**MANY, "required": ["p"]} if row["id"] == "huge_enum" else row["schema"]
    tool = tool_from_openai({"name": "f", "parameters": schema})
    try:
        check = tool_checker(tool)
    except SchemaError as error:
        assert str(error)
        assert row["good"] == []
        return
    lock = lock_of(tool, letters)
    enforced = lock is not None and lock.holds_all
    for text in row["good"]:
        value = read_json(text).value
        assert not check(value), text
        order = list(close_schema(tool.parameters).get("properties", {}))
        ordered = dict(
            sorted(plain(value).items(), key=lambda pair: order.index(pair[0]) if pair[0] in order else 99)
        )
        spelled = json.dumps(ordered, ensure_ascii=False)
        assert lock is None or takes(lock, text) or takes(lock, spelled), text
    for text in row["bad"]:
        through = not check(read_json(text).value)
        assert not (takes(lock, text) if enforced else through), text
