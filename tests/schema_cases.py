"""One small schema a keyword: what the table in docs/tools.md and its test are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["CASES", "Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """A keyword, the schema of an argument `p` that uses it, and values that fit and that do not."""

    keyword: str
    schema: dict[str, Any]
    good: tuple[Any, ...]
    bad: tuple[Any, ...] = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of a tool with this one argument."""
        whole = {"type": "object", "properties": {"p": self.schema}, "required": ["p"]}
        return {**whole, "$defs": {"short": {"type": "string", "maxLength": 2}}}


_A_B = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}},
    "additionalProperties": False,
}
_LIST = {"type": "array", "items": {"type": "boolean"}}
_BIG = 2**53 + 1

CASES: tuple[Case, ...] = (
    Case("type", {"type": ["integer", "null"]}, (3, None), ("3", 1.5)),
    Case("enum, const", {"enum": ["a", 3, None]}, ("a", 3), ("b", 4)),
    Case("enum past 2^53", {"enum": [_BIG]}, (_BIG,), (_BIG - 1,)),
    Case("minLength, maxLength", {"type": "string", "minLength": 1, "maxLength": 3}, ("ab",), ("", "abcd")),
    Case("maxLength without a type", {"maxLength": 2}, ("ab", 1234), ("abc",)),
    Case("pattern ^…$", {"type": "string", "pattern": "^[a-c]{2}$"}, ("ab",), ("ad", "abc")),
    Case("pattern inside", {"type": "string", "pattern": "[0-9]{2}"}, ("a12",), ("a1",)),
    Case("pattern with look-around", {"type": "string", "pattern": "^(?=a).b$"}, ("ab",), ("bb",)),
    *(
        Case(f"format {name}", {"type": "string", "format": name}, (good,), (bad,))
        for name, good, bad in (
            ("date", "2024-02-29", "2023-02-29"),
            ("time", "23:59:59Z", "24:00:00Z"),
            ("date-time", "2024-02-29T10:00:00Z", "2024-02-30T10:00:00Z"),
            ("duration", "P1D", "1D"),
            ("email", "ann@example.org", "ann"),
            ("hostname", "a.example.org", "-a"),
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv6", "::1", "1::2::3"),
            ("uri", "https://a.org/x", "a b"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
            ("regex", "a+", "("),
        )
    ),
    Case("minimum, maximum of integer", {"type": "integer", "minimum": 3, "maximum": 20}, (3, 20), (2, 21)),
    Case(
        "minimum, maximum of number", {"type": "number", "minimum": 0.5, "maximum": 2}, (0.5, 2), (0.4, 2.1)
    ),
    Case("exclusiveMinimum, exclusiveMaximum", {"type": "integer", "exclusiveMinimum": 3}, (4,), (3,)),
    Case("minimum without a type", {"minimum": 3}, (3, "x"), (2,)),
    Case("minimum past 2^53", {"type": "integer", "minimum": _BIG}, (_BIG,), (_BIG - 1,)),
    Case("multipleOf", {"type": "number", "multipleOf": 0.5}, (1.5,), (1.3,)),
    Case("items", _LIST, ([True],), ([1],)),
    Case("minItems, maxItems", {**_LIST, "minItems": 1, "maxItems": 2}, ([True],), ([], [True] * 3)),
    Case("prefixItems", {**_LIST, "prefixItems": [{"type": "null"}]}, ([None, True],), ([True],)),
    Case("uniqueItems", {**_LIST, "uniqueItems": True}, ([True],), ([True, True],)),
    Case("contains", {**_LIST, "contains": {"const": True}}, ([True],), ([False],)),
    Case("properties, required", {**_A_B, "required": ["a"]}, ({"a": 1},), ({}, {"a": 1, "c": 2})),
    Case(
        "required in anyOf", {**_A_B, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, ({"a": 1},), ({},)
    ),
    Case("required in allOf", {**_A_B, "allOf": [{"required": ["a"]}]}, ({"a": 1},), ({},)),
    Case(
        "additionalProperties, any object",
        {"type": "object", "additionalProperties": {"type": "integer"}},
        ({"x": 1},),
        ({"x": "1"},),
    ),
    Case(
        "patternProperties",
        {**_A_B, "patternProperties": {"^x_": {"type": "null"}}},
        ({"x_y": None},),
        ({"x_y": 1},),
    ),
    Case(
        "patternProperties over a named key",
        {**_A_B, "patternProperties": {"^a$": {"minimum": 5}}},
        ({"a": 5},),
        ({"a": 4},),
    ),
    Case("minProperties, maxProperties", {**_A_B, "minProperties": 1}, ({"a": 1},), ({},)),
    Case("propertyNames", {"type": "object", "propertyNames": {"maxLength": 1}}, ({"a": 1},), ({"ab": 1},)),
    Case("dependentRequired", {**_A_B, "dependentRequired": {"a": ["b"]}}, ({"b": True},), ({"a": 1},)),
    Case("anyOf", {"anyOf": [{"type": "boolean"}, {"type": "null"}]}, (True, None), (1,)),
    Case("oneOf that excludes", {"oneOf": [{"type": "boolean"}, {"type": "null"}]}, (True, None), (1,)),
    Case("oneOf that overlaps", {"oneOf": [{"type": "integer"}, {"enum": [1, "a"]}]}, (2, "a"), (1,)),
    Case("allOf of a type's rules", {"type": "string", "allOf": [{"maxLength": 2}]}, ("ab",), ("abc",)),
    Case(
        "allOf of objects",
        {
            "allOf": [
                {**_A_B, "additionalProperties": True},
                {"type": "object", "properties": {"c": {"type": "null"}}},
            ]
        },
        ({"a": 1, "c": None},),
        ({"a": 1, "c": 2},),
    ),
    Case("not", {"type": "integer", "not": {"const": 1}}, (2,), (1,)),
    Case(
        "if, then, else",
        {**_A_B, "if": {"required": ["a"]}, "then": {"required": ["b"]}},
        ({"b": True},),
        ({"a": 1},),
    ),
    Case("$ref", {"$ref": "#/$defs/short"}, ("ab",), ("abc",)),
    Case("$ref beside a rule", {"$ref": "#/$defs/short", "minLength": 1}, ("ab",), ("",)),
    Case("$ref to another document", {"$ref": "https://example.org/a.json"}, (), (1,)),
    Case("no rule at all", {}, (1, "x", {"k": [None]}), ()),
)
