"""Short texts of what a schema lets a value open: how much longer one step can make a reply's end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from exllama_guard.tools.grammar.closed import resolve_pointer

__all__ = ["longest_piece"]

# References followed, one inside the other; a schema that needs more has no end to speak of.
_MOST_DEEP = 8
_LEAST = {"string": '""', "array": "[]", "object": "{}", "null": "null", "boolean": "false"}


def longest_piece(schema: Mapping[str, Any]) -> str:
    """The longest of the shortest texts that one choice in a value of `schema` can call for.

    A choice is a property, an item, an alternative or a permitted value. The text is about as long as the
    shortest that fits; it need not fit itself.
    """
    return max(_Pieces(schema).all(), key=len, default="")


class _Pieces:
    """Walks one schema; `_least` remembers the shortest text of each part."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._least: dict[int, str] = {}

    def all(self) -> Iterator[str]:
        """The short text of each choice in the schema; what references name is met where it stands."""
        waiting: list[object] = [self._root]
        seen: set[int] = set()
        while waiting:
            schema = waiting.pop()
            if not isinstance(schema, Mapping) or id(schema) in seen:
                continue
            seen.add(id(schema))
            named = _mapping(schema, "properties")
            items = [schema.get("items"), *_list(schema, "prefixItems"), schema.get("additionalProperties")]
            options = [part for key in ("anyOf", "oneOf", "allOf") for part in _list(schema, key)]
            yield from (f", {json.dumps(name)}: {self.least(part)}" for name, part in named.items())
            yield from (f", {self.least(part)}" for part in items)
            yield from (self.least(part) for part in options)
            yield from (json.dumps(value, ensure_ascii=False) for value in _list(schema, "enum"))
            waiting += [*named.values(), *items, *options]
            for key in ("$defs", "definitions"):
                waiting += _mapping(schema, key).values()

    def least(self, schema: object, depth: int = 0) -> str:
        """About the shortest text of a value."""
        if not isinstance(schema, Mapping) or depth > _MOST_DEEP:
            return "0"
        known = self._least.get(id(schema))
        if known is None:
            known = self._least[id(schema)] = self._shortest(schema, depth)
        return known

    def _shortest(self, schema: Mapping[str, Any], depth: int) -> str:
        if "const" in schema:
            return json.dumps(schema["const"], ensure_ascii=False)
        for key in ("enum", "anyOf", "oneOf"):
            parts = _list(schema, key)
            if parts:
                texts = (json.dumps(p) if key == "enum" else self.least(p, depth + 1) for p in parts)
                return min(texts, key=len)
        if isinstance(schema.get("$ref"), str):
            return self.least(resolve_pointer(self._root, schema["$ref"]), depth + 1)
        return self._of_kind(schema, depth)

    def _of_kind(self, schema: Mapping[str, Any], depth: int) -> str:
        kinds = schema.get("type", "object" if "properties" in schema else "integer")
        kind = kinds[0] if isinstance(kinds, list) and kinds else kinds
        if kind == "object":
            known = _mapping(schema, "properties")
            inner = (
                f"{json.dumps(n)}: {self.least(known.get(n), depth + 1)}" for n in _list(schema, "required")
            )
            return "{" + ", ".join(inner) + "}"
        if kind == "array":
            item = self.least(schema.get("items"), depth + 1)
            return "[" + ", ".join([item] * min(int(schema.get("minItems", 0)), 50)) + "]"
        if kind == "string":
            free = "x" * min(int(schema.get("minLength", 0)), 200)
            return f'"{schema.get("pattern") or ("0" * 25 if "format" in schema else free)}"'
        numbers = (schema.get(key, 0) for key in ("minimum", "maximum", "multipleOf"))
        return _LEAST.get(str(kind)) or max(map(str, numbers), key=len)


def _mapping(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = schema.get(key)
    return value if isinstance(value, Mapping) else {}


def _list(schema: Mapping[str, Any], key: str) -> list[Any]:
    value = schema.get(key)
    return value if isinstance(value, list) else []
