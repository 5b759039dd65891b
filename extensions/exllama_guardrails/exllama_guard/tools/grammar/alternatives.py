"""Whether the parts of a oneOf exclude each other, so that any of them is one of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from exllama_guard.tools.grammar.closed import resolve_pointer

__all__ = ["are_disjoint"]

_KINDS = frozenset({"string", "number", "boolean", "null", "array", "object"})


def are_disjoint(parts: Sequence[Any], root: Mapping[str, Any]) -> bool:
    """True when no value fits two of `parts`: by type, by listed values, or by a required key's value.

    False says only that none of these shows it.
    """
    followed = [_followed(part, root) for part in parts]
    return all(_differ(first, second, root) for first, second in combinations(followed, 2))


def _differ(first: Mapping[str, Any], second: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    if not _kinds(first) & _kinds(second):
        return True
    left, right = _values(first), _values(second)
    if left is not None and right is not None:
        return not left & right
    if _kinds(first) & _kinds(second) != {"object"}:
        return False
    for one, other in ((first, second), (second, first)):
        closed = other.get("additionalProperties") is False and not other.get("patternProperties")
        if closed and any(name not in other.get("properties", {}) for name in one.get("required", ())):
            return True  # a key that the other forbids
    both = set(first.get("required", ())) & set(second.get("required", ()))
    return any(
        _differ(
            _followed(first.get("properties", {}).get(name, {}), root),
            _followed(second.get("properties", {}).get(name, {}), root),
            root,
        )
        for name in both
        if name in first.get("properties", {}) and name in second.get("properties", {})
    )


def _followed(schema: object, root: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(16):
        if not isinstance(schema, Mapping):
            return {}
        if not isinstance(schema.get("$ref"), str):
            return schema
        schema = resolve_pointer(root, schema["$ref"])
    return {}


def _kinds(schema: Mapping[str, Any]) -> frozenset[str]:
    values = _listed(schema)
    if values is not None:
        return frozenset(map(_kind, values))
    kinds = schema.get("type", sorted(_KINDS))
    listed = kinds if isinstance(kinds, list) else [kinds]
    return frozenset("number" if kind == "integer" else kind for kind in listed)


def _listed(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


def _values(schema: Mapping[str, Any]) -> frozenset[str] | None:
    values = _listed(schema)
    return None if values is None else frozenset(map(_written, values))


def _written(value: object) -> str:
    plain = int(value) if isinstance(value, float) and value.is_integer() else value
    return json.dumps(plain, sort_keys=True)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "null" if value is None else "array" if isinstance(value, list) else "object"
