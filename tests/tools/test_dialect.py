"""Schemas in the dialects that tools are published in."""

from __future__ import annotations

import pytest
from exllama_guard.errors import SchemaError
from exllama_guard.tools.calls import tool_checker
from exllama_guard.tools.grammar.dialect import read_schema
from exllama_guard.tools.registry import ToolLock, tool_changes, tool_from_openai


def tool(parameters):
    return tool_from_openai({"name": "f", "description": "d", "parameters": parameters})


def named(**properties):
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("part", "good", "bad", "said"),
    [
        ({"type": "float"}, 1.5, "1.5", '"float" is read as "number"'),
        ({"type": "tuple", "items": {"type": "int"}}, [1], [1.5], '"tuple" is read as "array"'),
        ({"type": "any"}, {"x": [None]}, None, '"any" is read as any value'),
        ({"type": "dict", "properties": {"k": {"type": "String"}}}, {"k": "v"}, {"k": 1}, '"dict"'),
        ({"type": ["str", "NoneType"]}, None, 1, '"NoneType" is read as "null"'),
        ({"type": "INTEGER"}, 3, "3", '"INTEGER" is read as "integer"'),
        ({"type": "number", "minimum": 0, "exclusiveMinimum": True}, 0.1, 0, "draft 4"),
        (
            {"type": "array", "items": [{"type": "integer"}], "additionalItems": {"type": "string"}},
            [1, "x"],
            [1, 2],
            "prefixItems",
        ),
        (
            {"type": "object", "dependencies": {"card": ["addr"]}, "additionalProperties": True},
            {"card": 1, "addr": 2},
            {"card": 1},
            "dependencies",
        ),
        (
            {"type": "object", "properties": {"k": {"type": "string", "required": True}}},
            {"k": ""},
            {},
            "required",
        ),
    ],
)
def test_a_dialect_is_read_and_said(part, good, bad, said):
    read = tool(named(p=part))
    check = tool_checker(read)
    assert check({"p": good}) == ()
    assert bad is None or check({"p": bad})
    assert any(said in reading for reading in read.readings)


def test_json_schema_is_left_to_the_letter():
    schema = {
        "type": "object",
        "properties": {"type": {"enum": ["dict", "float"]}, "required": {"type": "boolean"}},
        "required": ["type"],
        "examples": [{"type": "dict"}],
        "default": {"type": "any"},
    }
    assert read_schema(schema).schema == schema
    assert read_schema(schema).readings == ()


def test_a_named_draft_is_left_to_the_validator():
    old = "http://json-schema.org/draft-04/schema#"
    schema = {"$schema": old, "type": "number", "minimum": 0, "exclusiveMinimum": True}
    assert read_schema(schema).schema == schema


def test_the_hash_is_of_what_was_offered_and_a_change_of_dialect_is_drift():
    before, after = tool(named(p={"type": "float"})), tool(named(p={"type": "number"}))
    assert before.parameters == after.parameters
    assert before.sha256 != after.sha256
    assert tool_changes(before, after)
    lock = ToolLock()
    lock.observe([before])
    assert lock.observe([after])[0].state.value == "drifted"


def test_a_type_that_nobody_knows_still_blocks_the_tool():
    with pytest.raises(SchemaError, match="not a valid JSON Schema"):
        tool_checker(tool(named(p={"type": "thing"})))
