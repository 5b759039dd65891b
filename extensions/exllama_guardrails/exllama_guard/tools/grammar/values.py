"""Single values of a call outside JSON objects: between XML tags, in Gemma's quotes, as Python literals."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exllama_guard.errors import SchemaError
from exllama_guard.tools.grammar.closed import close_schema, resolve_pointer
from exllama_guard.tools.grammar.lark import LarkWriter
from exllama_guard.tools.registry import Tool

__all__ = ["Field", "accepts_text", "fields_of", "gemma_value", "python_value", "tag_value"]

_STRING_RULES = ("pattern", "minLength", "maxLength", "format", "contentEncoding", "contentMediaType")
# Keywords that tie several fields together; a list of fields cannot obey them.
_TIES = (
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "if",
    "$ref",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "const",
    "enum",
)
_NOTES = ("description", "title", "default", "examples", "$comment", "deprecated")


@dataclass(frozen=True, slots=True)
class Field:
    """One argument: its schema with the definitions that it refers to."""

    name: str
    schema: Mapping[str, Any]
    required: bool


def fields_of(tool: Tool) -> tuple[Field, ...]:
    """The arguments of a tool in the schema's order.

    Raises:
        SchemaError: The schema ties arguments together in a way that a list of fields cannot obey, or
            requires one that it does not describe.
    """
    schema = close_schema(tool.parameters)
    tied = [key for key in _TIES if key in schema]
    if tied:
        raise SchemaError(
            f"The schema of '{tool.name}' uses {', '.join(tied)} at the top; this call format cannot obey it."
        )
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    for name in (*required, *properties):
        if name not in properties or not re.fullmatch(r"[^\s<>\"=]+", name):
            raise SchemaError(
                f"The argument '{name}' of '{tool.name}' cannot be written in this call format."
            )
    home: dict[str, Any] = {key: schema[key] for key in ("$defs", "definitions", "$schema") if key in schema}
    return tuple(
        Field(name, {**home, **part} if isinstance(part, Mapping) else dict(home), name in required)
        for name, part in properties.items()
    )


def accepts_text(schema: Mapping[str, Any]) -> bool:
    """True when any text whatever fits `schema`."""
    schema = _followed(schema, schema)
    if any(key in schema for key in (*_STRING_RULES, "enum", "const", "not", "if", "allOf", "oneOf")):
        return False
    if "anyOf" in schema:
        return any(
            accepts_text({**part, "$defs": schema.get("$defs", {})})
            for part in schema["anyOf"]
            if isinstance(part, Mapping)
        )
    kinds = schema.get("type")
    return kinds is None or kinds == "string" or (isinstance(kinds, list) and "string" in kinds)


def tag_value(out: LarkWriter, field: Field, end: str) -> str:
    """The value and its closing tag. Text stands as it is; every other value is JSON.

    A host reads `123` between tags as a number; where the schema wants text, the tool guard puts it back.
    """
    schema = _followed(field.schema, field.schema)
    if accepts_text(schema):
        return out.until(end)
    literals = _literals(schema)
    ws = out.ws()
    if literals is not None:
        if any(isinstance(value, str) and ("<" in value or value != value.strip()) for value in literals):
            raise SchemaError(
                f"A permitted value of '{field.name}' holds '<' or an outer blank; this form cannot carry it."
            )
        texts = [value if isinstance(value, str) else json.dumps(value) for value in literals]
        return f"{ws} ({' | '.join(out.text(text) for text in texts)}) {ws} {out.mark(end)}"
    return f"{ws} {out.json(field.schema)} {ws} {out.mark(end)}"


def python_value(out: LarkWriter, field: Field) -> str:
    """The value as a Python literal without brackets inside.

    Raises:
        SchemaError: The schema asks for a list, an object or text with rules.
    """
    schema = _followed(field.schema, field.schema)
    literals = _literals(schema)
    if literals is not None:
        texts = [json.dumps(value, ensure_ascii=False) for value in literals]
        if any(re.search(r"[()\[\]\\]", text) for text in texts):
            raise SchemaError(
                f"A permitted value of '{field.name}' holds brackets; a Python call cannot carry it here."
            )
        return f"({' | '.join(out.text(text) for text in texts)})"
    kinds = schema.get("type")
    if kinds in ("integer", "number", "boolean", "null"):
        return out.json(field.schema)
    if kinds == "string" and accepts_text(schema):
        return out.pattern(r'"[^"\'\\()\[\]\n]*"')
    raise SchemaError(
        f"The argument '{field.name}' is a list, an object or text with rules; a Python call cannot hold it."
    )


def gemma_value(out: LarkWriter, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int = 0) -> str:
    """A value in Gemma's own notation: bare keys, text between `<|"|>` marks.

    Raises:
        SchemaError: The schema uses what this notation has no rule for.
    """
    schema = _followed(schema, root)
    if depth > 12:
        raise SchemaError("The schema refers to itself; Gemma's call format has no rule for that here.")
    literals = _literals(schema)
    quote = out.mark('<|"|>')
    if literals is not None:
        if any(isinstance(value, (dict, list)) for value in literals):
            raise SchemaError(
                "A permitted value is a list or an object; Gemma's call format has no rule for that here."
            )
        pieces = [
            f"{quote} {out.text(v)} {quote}" if isinstance(v, str) else out.text(json.dumps(v))
            for v in literals
        ]
        return "(" + " | ".join(pieces) + ")"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return "(" + " | ".join(gemma_value(out, part, root, depth + 1) for part in schema[key]) + ")"
    kinds = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kinds, list):
        return (
            "("
            + " | ".join(gemma_value(out, {**schema, "type": kind}, root, depth + 1) for kind in kinds)
            + ")"
        )
    return _gemma_kind(out, kinds, schema, root, depth)


def _gemma_kind(
    out: LarkWriter, kind: object, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int
) -> str:
    unknown = set(schema) - {
        "type",
        "properties",
        "required",
        "items",
        "additionalProperties",
        "$defs",
        "definitions",
        "$schema",
        *_NOTES,
    }
    if kind in ("integer", "number", "boolean", "null"):
        return out.json({key: value for key, value in schema.items() if key not in ("$defs", "definitions")})
    if unknown:
        raise SchemaError(
            f"The schema uses {', '.join(sorted(unknown))}; Gemma's call format has no rule for that here."
        )
    if kind == "string":
        quote = out.mark('<|"|>')
        return f"{quote} {out.pattern('[^<]*')} {quote}"
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        item = out.rule("item", gemma_value(out, schema["items"], root, depth + 1))
        return f'"[" ({item} ("," {item})*)? "]"'
    if kind == "object":
        required = schema.get("required", [])
        parts = []
        for name, part in schema.get("properties", {}).items():
            if not re.fullmatch(r"\w+", name):
                raise SchemaError(f"The argument '{name}' cannot be a bare key in Gemma's call format.")
            parts.append(
                (
                    out.rule("field", f"{out.text(name + ':')} {gemma_value(out, part, root, depth + 1)}"),
                    name in required,
                )
            )
        return f'"{{" {out.separated(parts, ",")} "}}"'
    raise SchemaError("The schema leaves a value open; Gemma's call format has no rule for that here.")


def _literals(schema: Mapping[str, Any]) -> Sequence[Any] | None:
    """The permitted values where the schema lists them."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) and values else None


def _followed(schema: object, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """`schema`, or what its `$ref` names.

    Raises:
        SchemaError: The reference leads nowhere here.
    """
    for _ in range(16):
        if not isinstance(schema, Mapping):
            return {}
        if not isinstance(schema.get("$ref"), str):
            return schema
        schema = resolve_pointer(root, schema["$ref"])
    raise SchemaError("A reference in the schema leads to itself.")
