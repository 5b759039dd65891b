"""A schema in words that llguidance enforces exactly as a validator reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["enforceable"]

# RFC 3339 without leap seconds: llguidance takes :60 in every minute, validators only where one was inserted.
_TIME = (
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_DATE = (
    r"(?:[12][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    r"|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[12][0-9](?:0[48]|[2468][048]|[13579][26])|(?:1[26]|2[048])00)-02-29)"
)
_FORMATS = {"time": f"^{_TIME}$", "date": f"^{_DATE}$", "date-time": f"^{_DATE}T{_TIME}$"}
# Formats that both the validator and llguidance know; others that the validator ignores carry no rule.
_ANNOTATIONS = frozenset(
    {
        "int32",
        "int64",
        "float",
        "double",
        "byte",
        "binary",
        "password",
        "decimal",
        "phone",
        "color",
        "url",
        "enum",
    }
)
_OPEN = "any_json"
_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLES = ("items", "additionalProperties", "additionalItems", "not", "if", "then", "else", "contains")
# A schema with one of these says what it takes; without, it takes anything.
_SPEAKS = frozenset(
    {"type", "enum", "const", "$ref", "properties", "items", "pattern", *_LISTS, "not", "if", "$dynamicRef"}
)


def enforceable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """`schema` so that whatever llguidance lets through is valid: never wider, at places narrower.

    Narrower: times have no leap second; where anything may stand, keys are not empty. Draft 4's Boolean
    `exclusiveMinimum` becomes its later form.
    """
    walker = _Walker("definitions" if "definitions" in schema else "$defs")
    out: dict[str, Any] = walker.walk(schema)
    if walker.used_open:
        out[walker.home] = {**out.get(walker.home, {}), _OPEN: _any_json(walker.reference)}
    return out


class _Walker:
    """Rewrites one schema; notes whether the definition of open values is needed."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.reference = f"#/{home}/{_OPEN}"
        self.used_open = False

    def walk(self, schema: Any) -> Any:  # noqa: ANN401 - any JSON value
        if schema is True or (isinstance(schema, Mapping) and not _SPEAKS & set(schema)):
            self.used_open = True
            return {"$ref": self.reference}
        if not isinstance(schema, Mapping):
            return schema
        out = dict(schema)
        for key in _MAPS:
            if isinstance(out.get(key), Mapping):
                out[key] = {name: self.walk(part) for name, part in out[key].items()}
        for key in (*_LISTS, "items"):
            if isinstance(out.get(key), list):
                out[key] = [self.walk(part) for part in out[key]]
        for key in _SINGLES:
            if isinstance(out.get(key), Mapping) or out.get(key) is True:
                out[key] = self.walk(out[key])
        self._open_containers(out)
        _limits(out)
        _formats(out)
        return out

    def _open_containers(self, out: dict[str, Any]) -> None:
        kinds = out.get("type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        joined = any(key in out for key in (*_LISTS, "$ref", "enum", "const"))
        if "object" in kinds and "additionalProperties" not in out and not joined:
            self.used_open = True
            if "patternProperties" not in out:
                out["patternProperties"] = {"^.{1,40}$": {"$ref": self.reference}}
                out["additionalProperties"] = False
        if "array" in kinds and "items" not in out and "prefixItems" not in out and not joined:
            self.used_open = True
            out["items"] = {"$ref": self.reference}


def _any_json(reference: str) -> dict[str, Any]:
    this = {"$ref": reference}
    return {
        "anyOf": [
            {"type": ["string", "number", "boolean", "null"]},
            {"type": "array", "items": this},
            {"type": "object", "patternProperties": {"^.{1,40}$": this}, "additionalProperties": False},
        ]
    }


def _limits(out: dict[str, Any]) -> None:
    """Draft 4 wrote `exclusiveMinimum: true` beside `minimum`."""
    for exclusive, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if out.get(exclusive) is True and limit in out:
            out[exclusive] = out.pop(limit)
        elif isinstance(out.get(exclusive), bool):
            out.pop(exclusive)


def _formats(out: dict[str, Any]) -> None:
    name = out.get("format")
    if isinstance(name, str) and name in _FORMATS and "pattern" not in out:
        del out["format"]
        out["pattern"] = _FORMATS[name]
    elif name in _ANNOTATIONS:
        del out["format"]
