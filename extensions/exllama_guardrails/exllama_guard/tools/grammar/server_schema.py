"""A schema as llama.cpp's server is given it, and what of it its converter passes over.

Read from `common/json-schema.cpp` and `common/json-schema-to-grammar.cpp` (2026-10): of `$ref`, `anyOf`,
`const`, `enum` and `type` the first that stands decides, and what stands beside it is not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from exllama_guard.tools.grammar.alternatives import are_disjoint
from exllama_guard.tools.grammar.enforce import AS_PATTERN, LARGEST_EXACT, REPEATED, HeldSchema
from exllama_guard.tools.grammar.objects import repeats_keys

__all__ = ["schema_for_server"]

_NOTES = frozenset(
    [
        "$schema",
        "$id",
        "$comment",
        "$anchor",
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
        "$defs",
        "definitions",
    ]
)
_OF_KIND = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"pattern", "format", "minLength", "maxLength"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
}
# A pattern that is anchored at both ends, without groups of other kinds and back references; for others the
# converter takes any text.
_CONVERTED = re.compile(r"\^(?:(?!\(\?|\\[1-9bBpP]).)*(?<!\\)\$", re.DOTALL)
_HELD_FORMATS = frozenset({"time", "uuid"})
_NO_RULE = frozenset({"int32", "int64", "float", "double", "byte", "binary", "password"})
_KNOWN = frozenset().union(*_OF_KIND.values())
_RULES = frozenset(
    [
        "not",
        "if",
        "uniqueItems",
        "contains",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "propertyNames",
        "multipleOf",
        "unevaluatedProperties",
        "unevaluatedItems",
        "patternProperties",
        "minProperties",
        "maxProperties",
        "prefixItems",
        "additionalItems",
        "$dynamicRef",
        "$recursiveRef",
    ]
)


def schema_for_server(schema: Mapping[str, Any]) -> HeldSchema:
    """`schema` without what the converter passes over or gets wrong, and what that was."""
    walker = _Walker(schema)
    return HeldSchema(walker.walk(schema, ""), tuple(dict.fromkeys(walker.gaps)))


class _Walker:
    """Rewrites one schema; `gaps` in document order, those of unused definitions among them."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self.gaps: list[str] = []

    def walk(self, schema: Any, path: str) -> Any:  # noqa: ANN401 - any JSON value
        if not isinstance(schema, Mapping):
            if schema is False:
                self._gap("false", path)
            return {}  # the converter reads no Boolean schema
        out = dict(schema)
        for key in ("$defs", "definitions"):
            if isinstance(out.get(key), Mapping):
                out[key] = {name: self.walk(part, f"/{name}") for name, part in out[key].items()}
        if repeats_keys(out, self._root):
            self.gaps.append(REPEATED)
        out = self._merged(out, path)
        if isinstance(out.get("$ref"), str):
            return self._only(out, {"$ref"}, path)
        for key in ("oneOf", "anyOf"):
            if isinstance(out.get(key), list):
                return self._alternatives(out, key, path)
        if "const" in out or "enum" in out:
            return self._only(out, {"const"} if "const" in out else {"enum", "type"}, path)
        return self._of_kind(out, path)

    def _gap(self, what: str, path: str) -> None:
        self.gaps.append(f"{what} ({path})" if path else what)

    def _only(self, out: dict[str, Any], kept: set[str], path: str) -> dict[str, Any]:
        for key in out:
            if key not in _NOTES | kept and (key in _RULES | _KNOWN or key in ("anyOf", "oneOf", "enum")):
                self._gap(key, path)
        return out

    def _merged(self, out: dict[str, Any], path: str) -> dict[str, Any]:
        """`out` with the parts of allOf that speak of other things beside them; the rest is dropped."""
        parts = out.pop("allOf", None)
        for part in parts if isinstance(parts, list) else ():
            clash = not isinstance(part, Mapping) or any(
                key in out and out[key] != part[key] for key in part if key not in _NOTES
            )
            alone = isinstance(part, Mapping) and "$ref" in part and set(out) - _NOTES
            if clash or alone or "allOf" in part:
                self._gap("allOf", path)
            else:
                out.update({key: value for key, value in part.items() if key not in _NOTES})
        return out

    def _alternatives(self, out: dict[str, Any], key: str, path: str) -> dict[str, Any]:
        beside = set(out) - _NOTES - {key}
        if beside:  # the converter would read the alternatives alone
            self._gap(key, path)
            del out[key]
            return dict(self.walk(out, path))
        if key == "oneOf" and not are_disjoint(out["oneOf"], self._root):
            self._gap("oneOf", path)
        out["anyOf"] = [self.walk(part, path) for part in out.pop(key)]
        return out

    def _of_kind(self, out: dict[str, Any], path: str) -> dict[str, Any]:
        kinds = out.get("type", "object" if "properties" in out else None)
        listed = kinds if isinstance(kinds, list) else [kinds]
        held = set().union(*(_OF_KIND.get(str(kind), set()) for kind in listed))
        if "integer" in listed and "number" in listed:
            held -= _OF_KIND["integer"]
        for key in [key for key in out if key not in _NOTES | held | {"type"}]:
            if key in _KNOWN | _RULES:
                self._gap(key, path)
        if kinds is None:  # the converter would take text with a rule for text alone
            return {key: value for key, value in out.items() if key in _NOTES}
        if out.pop("prefixItems", None) is not None:
            out.pop("items", None)  # it speaks of the items behind; the tuple would be held to its length
        if "patternProperties" in out:
            out["additionalProperties"] = True
        if isinstance(out.get("properties"), Mapping):
            out["properties"] = {
                name: self.walk(part, f"{path}/{name}") for name, part in out["properties"].items()
            }
        if isinstance(out.get("additionalProperties"), Mapping):
            out["additionalProperties"] = self.walk(out["additionalProperties"], f"{path}/*")
        if "items" in out:
            out["items"] = self.walk(out["items"], f"{path}/*")
        self._text(out, path)
        self._limits(out, path)
        return out

    def _text(self, out: dict[str, Any], path: str) -> None:
        name = out.get("format")
        if name in AS_PATTERN and name not in _HELD_FORMATS and "pattern" not in out:
            out["pattern"] = AS_PATTERN[str(name)].replace("(?:", "(")
            del out["format"]
        elif name is not None and (name not in _HELD_FORMATS or "pattern" in out):
            if name not in _NO_RULE:
                self._gap(f"format {name}", path)
            del out["format"]
        pattern = out.get("pattern")
        if pattern is not None and not _CONVERTED.fullmatch(str(pattern)):
            self._gap("pattern", path)
            del out["pattern"]
        for key in ("minLength", "maxLength"):
            if key in out and ("pattern" in out or "format" in out):
                self._gap(key, path)

    def _limits(self, out: dict[str, Any], path: str) -> None:
        for key in sorted(_OF_KIND["integer"] & set(out)):
            if isinstance(out[key], bool) or abs(out[key]) > LARGEST_EXACT:
                self._gap(key, path)
                del out[key]
        for inner, outer in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if inner in out and outer in out:
                self._gap(inner, path)
