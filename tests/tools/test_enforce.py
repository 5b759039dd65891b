"""What of a schema is left to the check, said before a reply depends on it."""

from __future__ import annotations

import pytest
from exllama_guard.tools.grammar.closed import close_schema
from exllama_guard.tools.grammar.enforce import REPEATED, enforceable

A = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
B = {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "allOf": [A, B]},
        {"allOf": [{"$ref": "#/$defs/a"}, B], "$defs": {"a": A}},
        {**A, "anyOf": [B, {"type": "object", "properties": {"c": {"type": "null"}}, "required": ["c"]}]}
        | {"properties": {"a": {"type": "string"}, "b": {"type": "integer"}, "c": {"type": "null"}}},
        {**A, "patternProperties": {"^a$": {"maxLength": 3}}, "additionalProperties": False},
        {**A, "unevaluatedProperties": False},
        {**A, "$defs": {"unused": {"uniqueItems": True}}},
        {"type": "string", "contentEncoding": "base64", "format": "password"},
        {"oneOf": [{"type": "null"}, {"const": 3}, {"enum": ["a"]}]},
        {"type": "object", "maxProperties": 1},
    ],
)
def test_all_of_it_is_held(schema):
    assert enforceable(close_schema(schema)).gaps == ()


@pytest.mark.parametrize(
    ("schema", "gaps"),
    [
        ({}, [REPEATED]),
        ({"type": "object"}, [REPEATED]),
        ({**A, "additionalProperties": {"type": "null"}}, [REPEATED]),
        ({"properties": {"a": {"type": "integer", "maximum": 2**64}}}, ["maximum past 2^53 (/a)"]),
        ({"const": {"k": 2**60}}, ["const past 2^53", REPEATED]),
        ({"properties": {"a": {"$ref": "#/$defs/u"}}, "$defs": {"u": {"type": "null", "not": {}}}}, ["not"]),
        ({"type": "array", "items": {"$ref": "#/$defs/o"}, "$defs": {"o": {"type": "object"}}}, [REPEATED]),
        ({"type": "string", "not": {"const": "a"}, "format": "iri"}, ["not", "format iri"]),
        ({"type": "array", "items": {"type": "null"}, "contains": {}, "minContains": 2}, ["contains"]),
        ({"anyOf": [{"type": "null"}, {"type": "object"}]}, [REPEATED]),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, ["oneOf"]),
    ],
)
def test_what_is_not_held_is_said(schema, gaps):
    held = enforceable(close_schema(schema))
    assert list(held.gaps) == gaps
    assert held.reason.endswith("checked before the call runs.")


def test_many_gaps_are_counted():
    named = {f"p{n}": {"type": "array", "items": {"type": "null"}, "uniqueItems": True} for n in range(9)}
    assert "and 5 more" in enforceable(close_schema({"type": "object", "properties": named})).reason
