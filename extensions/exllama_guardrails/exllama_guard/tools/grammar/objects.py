"""Whether a schema lets an object take keys that it does not name, so that one may stand twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exllama_guard.tools.grammar.closed import resolve_pointer

__all__ = ["property_of", "repeats_keys"]

_MOST_DEEP = 8  # references followed, one inside the other


def repeats_keys(schema: Any, root: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> bool:  # noqa: ANN401 - any JSON value
    """True when a value of `schema` itself (not one inside it) may be an object with two further keys.

    A grammar has no memory: it cannot know which keys stand already.
    """
    if not isinstance(schema, Mapping):
        return schema is not False
    if "const" in schema or isinstance(schema.get("enum"), list):
        return False
    kinds = schema.get("type", "object")
    if "object" not in (kinds if isinstance(kinds, list) else [kinds]):
        return False
    most = schema.get("maxProperties")
    if _is_closed(schema) or (isinstance(most, int) and most < 2):
        return False
    parts = [part for part in schema.get("allOf", ()) if isinstance(schema.get("allOf"), list)]
    reference = schema.get("$ref")
    if isinstance(reference, str):
        if reference in seen:
            return False  # told where it was met first
        seen |= {reference}
        parts.append(resolve_pointer(root, reference))
    if not all(repeats_keys(part, root, seen) for part in parts):
        return False
    for key in ("anyOf", "oneOf"):
        either = schema.get(key)
        if isinstance(either, list) and not any(repeats_keys(part, root, seen) for part in either):
            return False
    return True


def property_of(schema: Any, name: str, root: Mapping[str, Any], depth: int = 0) -> Any:  # noqa: ANN401 - any JSON value
    """What `schema` and its parts (allOf, anyOf, oneOf, $ref) say together of the property `name`."""
    if not isinstance(schema, Mapping) or depth > _MOST_DEEP:
        return True
    named = schema.get("properties", {})
    own = named[name] if name in named else schema.get("additionalProperties", True)
    said: dict[str, Any] = {
        "allOf": [own, *(property_of(part, name, root, depth + 1) for part in schema.get("allOf", ()))]
    }
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            said[key] = [property_of(part, name, root, depth + 1) for part in schema[key]]
    if isinstance(schema.get("$ref"), str):
        target = resolve_pointer(root, schema["$ref"])
        said["allOf"].append(property_of(target, name, root, depth + 1))
    return said


def _is_closed(schema: Mapping[str, Any]) -> bool:
    further = schema.get("additionalProperties", schema.get("unevaluatedProperties", True))
    return further is False and not schema.get("patternProperties")
