"""A schema that refuses unknown keys wherever it does not allow them in so many words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["close_schema", "resolve_pointer"]

_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_IN_PLACE = ("if", "then", "else")
_PARTS = ("allOf", "$ref", *_IN_PLACE, "dependentSchemas", "dependencies")
_JOINERS = (*_PARTS, "anyOf", "oneOf", "$dynamicRef", "$recursiveRef")
_VALUE_MAPS = ("properties", "patternProperties")
_VALUES = ("items", "additionalProperties", "additionalItems", "unevaluatedItems", "contains")
# An object that uses one of these says itself which other keys it takes.
_OPENERS = ("additionalProperties", "patternProperties", "unevaluatedProperties", "propertyNames")


def close_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """`schema` that takes no other keys wherever an object names its properties and says nothing else.

    JSON Schema lets unknown keys through by default; a tool's call must not carry them (docs/tools.md).
    Objects put together by allOf, if/then/else or $ref are closed over the union of what their parts name, so
    that parts stay open to each other. An object that names no property, or that speaks of further keys
    itself, is left as it is.
    """
    return _Closer(schema).closed()


class _Closer:
    """One schema's closing; remembers the definitions that it has closed."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._copies: dict[str, str] = {}
        self._made: dict[str, Any] = {}
        self._home = "$defs" if "definitions" not in root else "definitions"

    def closed(self) -> dict[str, Any]:
        out: dict[str, Any] = self._whole(self._root)
        if self._root.get("properties") == {} and not any(
            key in self._root for key in (*_OPENERS, *_JOINERS)
        ):
            out["additionalProperties"] = False  # a tool that names no argument takes none
        if self._made:
            out[self._home] = {**out.get(self._home, {}), **self._made}
        return out

    def _whole(self, schema: Any) -> Any:  # noqa: ANN401 - any JSON value
        """`schema` closed, where it describes a value alone and not as a part of another schema."""
        if not isinstance(schema, Mapping):
            return schema
        out = self._values(schema)
        if "$ref" in schema and not _names(schema) and not any(key in schema for key in _IN_PLACE_LISTS):
            out["$ref"] = self._closed_target(schema["$ref"])
            return out
        joined = any(key in schema for key in _PARTS)
        branching = any(key in schema for key in ("anyOf", "oneOf"))
        if branching and not joined and not _names(schema):
            for key in ("anyOf", "oneOf"):
                out.update({key: [self._whole(part) for part in _list(schema[key])]} if key in schema else {})
        elif joined or branching:
            self._close_union(schema, out)
        elif _names(schema) and not any(key in schema for key in _OPENERS):
            missing: dict[str, Any] = {
                name: {} for name in _required(schema) if name not in out["properties"]
            }
            out["properties"] = {**out["properties"], **missing}
            out["additionalProperties"] = False
        return out

    def _close_union(self, schema: Mapping[str, Any], out: dict[str, Any]) -> None:
        """Closes `out` over all that the parts of `schema` name; the parts stay open to each other."""
        parts = list(self._parts(schema, set()))
        names = {name: True for part in parts for name in (*_names(part), *_required(part))}
        if names and not any(key in part for part in parts for key in _OPENERS):
            out["properties"] = {**{name: {} for name in names}, **out.get("properties", {})}
            out["additionalProperties"] = False
        for key in _IN_PLACE_LISTS:
            if isinstance(schema.get(key), list):
                out[key] = [self._values(part) if isinstance(part, Mapping) else part for part in schema[key]]

    def _values(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """A copy whose sub-schemas for values below (properties, items, ...) are closed."""
        out = dict(schema)
        for key in _VALUE_MAPS:
            if isinstance(schema.get(key), Mapping):
                out[key] = {name: self._whole(part) for name, part in schema[key].items()}
        for key in _VALUES:
            if isinstance(schema.get(key), Mapping):
                out[key] = self._whole(schema[key])
        for key in ("items", "prefixItems"):
            if isinstance(schema.get(key), list):
                out[key] = [self._whole(part) for part in schema[key]]
        return out

    def _closed_target(self, reference: object) -> object:
        """A reference to a closed copy of what `reference` names; itself where that cannot be followed."""
        if reference == "#" or not isinstance(reference, str) or not reference.startswith("#/"):
            return reference
        if reference not in self._copies:
            target = resolve_pointer(self._root, reference)
            if not isinstance(target, Mapping):
                return reference
            name = f"closed_{len(self._copies) + 1}"
            while name in self._root.get(self._home, {}):
                name += "_"
            self._copies[reference] = f"#/{self._home}/{name}"
            self._made[name] = self._whole(target)
        return self._copies[reference]

    def _parts(self, schema: object, seen: set[int]) -> Iterator[Mapping[str, Any]]:
        """The schemas that speak of the same object as `schema`, itself first."""
        if not isinstance(schema, Mapping) or id(schema) in seen:
            return
        seen.add(id(schema))
        yield schema
        nested = [part for key in _IN_PLACE_LISTS for part in _list(schema.get(key))]
        nested += [schema.get(key) for key in _IN_PLACE]
        for key in ("dependentSchemas", "dependencies"):
            if isinstance(schema.get(key), Mapping):
                nested += list(schema[key].values())
        if isinstance(schema.get("$ref"), str):
            nested.append(resolve_pointer(self._root, schema["$ref"]))
        for part in nested:
            yield from self._parts(part, seen)


def resolve_pointer(root: Mapping[str, Any], reference: str) -> Any:  # noqa: ANN401 - any JSON value
    """What a local reference such as `#/$defs/a` names in `root`, or None."""
    if not reference.startswith("#"):
        return None
    node: Any = root
    for step in [part for part in reference[1:].split("/") if part]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, Mapping) and step in node:
            node = node[step]
        elif isinstance(node, list) and step.isdigit() and int(step) < len(node):
            node = node[int(step)]
        else:
            return None
    return node


def _names(schema: Mapping[str, Any]) -> tuple[str, ...]:
    properties = schema.get("properties")
    return tuple(properties) if isinstance(properties, Mapping) else ()


def _required(schema: Mapping[str, Any]) -> tuple[str, ...]:
    required = schema.get("required")
    return tuple(name for name in required if isinstance(name, str)) if isinstance(required, list) else ()


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
