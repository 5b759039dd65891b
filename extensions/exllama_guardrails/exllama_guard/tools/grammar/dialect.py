"""Schemas in the dialects that tools are published in, read as JSON Schema 2020-12; what was read is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ReadSchema", "read_schema"]

# Names of types that are no JSON Schema: Python's, BFCL's, Java's; Gemini writes known ones in capitals.
_TYPES: dict[str, str | None] = {
    **{name: name for name in ("string", "number", "integer", "boolean", "array", "object", "null")},
    **dict.fromkeys(("dict", "map", "hashmap", "struct"), "object"),
    **dict.fromkeys(("list", "tuple", "arraylist"), "array"),
    **dict.fromkeys(("float", "double", "decimal"), "number"),
    **dict.fromkeys(("int", "long", "short"), "integer"),
    **dict.fromkeys(("str", "char", "text"), "string"),
    **dict.fromkeys(("none", "nonetype"), "null"),
    "bool": "boolean",
    "any": None,
}
_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLES = (
    *("items", "additionalProperties", "additionalItems", "not", "if", "then", "else", "contains"),
    *("propertyNames", "unevaluatedProperties", "unevaluatedItems"),
)


@dataclass(frozen=True, slots=True)
class ReadSchema:
    """A schema as it is used, and each reading that was not to the letter of JSON Schema, once."""

    schema: dict[str, Any]
    readings: tuple[str, ...] = ()


def read_schema(schema: Mapping[str, Any]) -> ReadSchema:
    """`schema` with the types and old keywords of common dialects in the words of JSON Schema.

    Types are read wherever they are no JSON Schema. Keywords of drafts 3 to 7 are read only where no
    `$schema` names a draft: with one, the validator knows them. Enum, const, default and examples are
    left alone.
    """
    reader = _Reader("$schema" not in schema)
    read = reader.read(schema)
    return ReadSchema(read if isinstance(read, dict) else {}, tuple(reader.readings))


class _Reader:
    """Reads one schema; `readings` are in document order."""

    def __init__(self, any_draft: bool) -> None:
        self._any_draft = any_draft
        self.readings: dict[str, None] = {}

    def read(self, schema: Any) -> Any:  # noqa: ANN401 - any JSON value
        if not isinstance(schema, Mapping):
            return schema
        out = dict(schema)
        self._type(out)
        if self._any_draft:
            self._old_limits(out)
            self._old_items(out)
            self._old_dependencies(out)
            self._old_required(out)
        for key in _MAPS:
            if isinstance(out.get(key), Mapping):
                out[key] = {name: self.read(part) for name, part in out[key].items()}
        for key in (*_LISTS, "items"):
            if isinstance(out.get(key), list):
                out[key] = [self.read(part) for part in out[key]]
        for key in _SINGLES:
            if isinstance(out.get(key), Mapping):
                out[key] = self.read(out[key])
        return out

    def _said(self, before: str, after: str) -> None:
        self.readings[f"{before} is read as {after}"] = None

    def _type(self, out: dict[str, Any]) -> None:
        written = out.get("type")
        names = written if isinstance(written, list) else [written]
        texts = [name for name in names if isinstance(name, str) and name.lower() in _TYPES]
        if not names or len(texts) != len(names):
            return
        read = [_TYPES[name.lower()] for name in texts]
        if read == texts:
            return
        for before, after in zip(texts, read, strict=True):
            if before != after:
                self._said(f'type "{before}"', f'"{after}"' if after else "any value")
        if None in read:
            del out["type"]
        else:
            kinds = list(dict.fromkeys(read))
            out["type"] = kinds if isinstance(written, list) else kinds[0]

    def _old_limits(self, out: dict[str, Any]) -> None:
        """Draft 4 wrote `exclusiveMinimum: true` beside `minimum`."""
        for exclusive, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            flag = out.get(exclusive)
            if isinstance(flag, bool):
                del out[exclusive]
                self._said(f"a Boolean {exclusive}", f"draft 4's, of {limit}")
                if flag and limit in out:
                    out[exclusive] = out.pop(limit)

    def _old_items(self, out: dict[str, Any]) -> None:
        """Until 2019-09 a tuple was `items: [...]` with `additionalItems` behind."""
        if isinstance(out.get("items"), list):
            out["prefixItems"] = out.pop("items")
            self._said("a list of items", "prefixItems")
            if "additionalItems" in out:
                out["items"] = out.pop("additionalItems")
                self._said("additionalItems", "items")

    def _old_dependencies(self, out: dict[str, Any]) -> None:
        given = out.get("dependencies")
        if not isinstance(given, Mapping):
            return
        names = {key: value for key, value in given.items() if isinstance(value, list)}
        schemas = {key: value for key, value in given.items() if key not in names}
        del out["dependencies"]
        if names:
            out["dependentRequired"] = {**names, **out.get("dependentRequired", {})}
        if schemas:
            out["dependentSchemas"] = {**schemas, **out.get("dependentSchemas", {})}
        self._said("dependencies", "dependentRequired and dependentSchemas")

    def _old_required(self, out: dict[str, Any]) -> None:
        """Draft 3 wrote `required: true` at the property itself."""
        named = out.get("properties")
        if isinstance(out.get("required"), bool):
            del out["required"]  # at the top, or where the whole has read it
        if not isinstance(named, Mapping):
            return
        flagged = {
            name: part["required"]
            for name, part in named.items()
            if isinstance(part, Mapping) and isinstance(part.get("required"), bool)
        }
        if flagged:
            given = out.get("required")
            listed = given if isinstance(given, list) else []
            more = [name for name, flag in flagged.items() if flag and name not in listed]
            out["required"] = [*listed, *more]
            self._said("required: true at an argument", "a name in required")
