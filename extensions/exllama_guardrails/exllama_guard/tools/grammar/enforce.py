"""A schema as llguidance is given it, and what of it only a validator can tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from exllama_guard.tools.grammar.alternatives import are_disjoint
from exllama_guard.tools.grammar.objects import property_of, repeats_keys

__all__ = ["AS_PATTERN", "LARGEST_EXACT", "REPEATED", "HeldSchema", "enforceable"]

# llguidance reads numbers as 64-bit floats: past this, whole numbers are no longer told apart.
LARGEST_EXACT = 2**53

# RFC 3339 without leap seconds: llguidance takes :60 in every minute, validators only where one was inserted.
_TIME = (
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_DATE = (
    r"(?:[12][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    r"|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[12][0-9](?:0[48]|[2468][048]|[13579][26])|(?:1[26]|2[048])00)-02-29)"
)
# An address is at most 64 characters before and 254 with the domain (RFC 5321); llguidance has no limit.
AS_PATTERN = {
    "time": f"^{_TIME}$",
    "date": f"^{_DATE}$",
    "date-time": f"^{_DATE}T{_TIME}$",
    "email": r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}){0,2}"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]{0,40}[A-Za-z0-9])?(?:\.[A-Za-z](?:[A-Za-z0-9-]{0,40}[A-Za-z0-9])?){1,4}$",
}
_SAME_FORMATS = frozenset({"duration", "hostname", "ipv4", "ipv6", "uri", "uuid"})  # both read them alike
_CHECKED_FORMATS = frozenset(
    [
        "idn-email",
        "idn-hostname",
        "iri",
        "iri-reference",
        "uri-reference",
        "uri-template",
        "json-pointer",
        "relative-json-pointer",
        "regex",
    ]
)
_MAPS = ("properties", "patternProperties")
_DEFINITIONS = ("$defs", "definitions")
_PARTS = ("allOf", "anyOf", "oneOf")
_VALUES = ("items", "additionalProperties")
# What llguidance has no word for, with the value that says nothing.
_UNHELD: dict[str, tuple[Any, ...]] = {
    "not": (False,),
    "if": (),
    "uniqueItems": (False,),
    "contains": (),
    "dependentRequired": ({},),
    "dependentSchemas": ({},),
    "dependencies": ({},),
    "propertyNames": (True, {}),
    "unevaluatedProperties": (True, {}),
    "unevaluatedItems": (True, {}),
    "$dynamicRef": (),
    "$recursiveRef": (),
}
_WITHOUT_RULE = ("then", "else", "minContains", "maxContains", "$dynamicAnchor", "$recursiveAnchor")
_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_OLD = re.compile(r"json-schema\.org/draft-0?[3-7]")
_LITERALS = re.compile(r"\^\(?(?:\?:)?(?P<names>[\w -]+(?:\|[\w -]+)*)\)?\$")
REPEATED = "that no key stands twice where further keys are allowed"


@dataclass(frozen=True, slots=True)
class HeldSchema:
    """`schema` takes every value that the original takes; `gaps` say what else it lets through."""

    schema: dict[str, Any]
    gaps: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why replies are checked too, in one sentence; empty where nothing is let through."""
        if not self.gaps:
            return ""
        more = f" and {len(self.gaps) - 4} more" if len(self.gaps) > 4 else ""
        return (
            f"All of its schema is held while it is written but {'; '.join(self.gaps[:4])}{more}, which is "
            "checked before the call runs."
        )


def enforceable(schema: Mapping[str, Any]) -> HeldSchema:
    """`schema` without what llguidance cannot hold, and what that was: wider only where a gap says so.

    Narrower in three formats: times have no leap second and six digits of a second, addresses are those
    that mail programs write.
    """
    walker = _Walker(schema)
    return HeldSchema(walker.walk(schema, "", ""), tuple(dict.fromkeys(walker.reached())))


class _Walker:
    """Rewrites one schema. Gaps and references are noted by the definition that they stand in."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._old = bool(_OLD.search(str(root.get("$schema", ""))))
        self._gaps: dict[str, list[str]] = {}
        self._references: dict[str, set[str]] = {}

    def reached(self) -> Iterator[str]:
        """The gaps of the root and of the definitions that it uses."""
        waiting, seen = [""], {""}
        while waiting:
            home = waiting.pop(0)
            yield from self._gaps.get(home, ())
            for reference in sorted(self._references.get(home, ())):
                homes = (name for name in self._gaps | self._references if name)
                used = next((name for name in homes if f"{reference}/".startswith(f"{name}/")), "")
                if used not in seen:
                    seen.add(used)
                    waiting.append(used)

    def walk(self, schema: Any, path: str, home: str, *, part: bool = False) -> Any:  # noqa: ANN401 - any JSON value
        """`schema` rewritten; a `part` (of allOf, anyOf) leaves it to its whole to speak of repeated keys."""
        if not isinstance(schema, Mapping):
            if schema is True and not part:
                self._gap(home, REPEATED, path)
            return schema
        out = dict(schema)
        if isinstance(out.get("$ref"), str):
            self._references.setdefault(home, set()).add(out["$ref"])
            if self._old:  # siblings of a reference had no meaning before 2019-09
                out = {key: out[key] for key in ("$ref", "$schema", *_DEFINITIONS) if key in out}
        self._lists(out)
        self._unheld(out, path, home)
        self._numbers(out, path, home)
        self._formats(out, path, home)
        self._patterns(out, path, home)
        if not part and repeats_keys(out, self._root):
            self._gap(home, REPEATED, path)
        self._below(out, path, home)
        self._alternatives(out, path, home)
        return out

    def _below(self, out: dict[str, Any], path: str, home: str) -> None:
        for key in _DEFINITIONS:
            if isinstance(out.get(key), Mapping):
                # Whoever refers to one speaks of its repeated keys, and may close them.
                out[key] = {
                    name: self.walk(value, "", home if path or home else f"#/{key}/{name}", part=True)
                    for name, value in out[key].items()
                }
        whole = dict(out)
        for key in _MAPS:
            if isinstance(out.get(key), Mapping):
                out[key] = {name: self._named(whole, key, name, f"{path}/{name}", home) for name in out[key]}
        for key in _PARTS:
            if isinstance(out.get(key), list):
                out[key] = [self.walk(value, path, home, part=True) for value in out[key]]
        if isinstance(out.get("prefixItems"), list):
            out["prefixItems"] = [
                self.walk(value, f"{path}/{place}", home) for place, value in enumerate(out["prefixItems"])
            ]
        for key in _VALUES:
            if isinstance(out.get(key), Mapping):
                out[key] = self.walk(out[key], f"{path}/*", home)

    def _named(self, whole: Mapping[str, Any], key: str, name: str, path: str, home: str) -> Any:  # noqa: ANN401 - any JSON value
        """A property's value rewritten; what its schema leaves open, a part of `whole` may close."""
        value = whole[key][name]
        if key != "properties" or not any(part in whole for part in (*_PARTS, "$ref")):
            return self.walk(value, path, home)
        if repeats_keys(property_of(whole, name, self._root), self._root):
            self._gap(home, REPEATED, path)
        return self.walk(value, path, home, part=True)

    def _gap(self, home: str, what: str, path: str) -> None:
        """Notes what is let through, with the place inside its definition."""
        placed = f"{what} ({path})" if path and what != REPEATED else what
        self._gaps.setdefault(home, []).append(placed)

    def _lists(self, out: dict[str, Any]) -> None:
        """Tuples as they were written until 2019-09."""
        if isinstance(out.get("items"), list):
            out["prefixItems"] = out.pop("items")
            if "additionalItems" in out:
                out["items"] = out.pop("additionalItems")
        out.pop("additionalItems", None)

    def _unheld(self, out: dict[str, Any], path: str, home: str) -> None:
        """Drops what llguidance has no word for; what says the same as a word that it has becomes that."""
        joined = any(key in out for key in (*_PARTS, "$ref", "if", "dependentSchemas", "$dynamicRef"))
        for key, other in (("unevaluatedProperties", "additionalProperties"), ("unevaluatedItems", "items")):
            if key in out and not joined:
                value = out.pop(key)
                out.setdefault(other, value)
        if "if" in out and not any(key in out for key in ("then", "else")):
            del out["if"]
        for key, nothing in _UNHELD.items():
            if key in out and not any(out[key] is value or out[key] == value for value in nothing):
                self._gap(home, "if/then/else" if key == "if" else key, path)
            out.pop(key, None)
        for key in _WITHOUT_RULE:
            out.pop(key, None)

    def _numbers(self, out: dict[str, Any], path: str, home: str) -> None:
        """Draft 4's Boolean limits, and numbers that llguidance would round."""
        for exclusive, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if out.get(exclusive) is True and limit in out:
                out[exclusive] = out.pop(limit)
            elif isinstance(out.get(exclusive), bool):
                out.pop(exclusive)
        for key in _LIMITS:
            if _is_large(out.get(key)):
                self._gap(home, f"{key} past 2^53", path)
                del out[key]
        values = [out["const"]] if "const" in out else out.get("enum")
        if not isinstance(values, list) or not any(map(_is_large, values)):
            return
        self._gap(home, f"{'const' if 'const' in out else 'enum'} past 2^53", path)
        out.pop("const", None)
        out.pop("enum", None)
        exact = [value for value in values if not _is_large(value)]
        kinds = sorted({_kind(value) for value in values if _is_large(value)})
        either = [{"enum": exact}] if exact else []
        out["allOf"] = [*out.get("allOf", ()), {"anyOf": [*either, *({"type": kind} for kind in kinds)]}]

    def _formats(self, out: dict[str, Any], path: str, home: str) -> None:
        name = out.get("format")
        if not isinstance(name, str) or name in _SAME_FORMATS:
            return
        del out["format"]
        if name in _CHECKED_FORMATS:
            self._gap(home, f"format {name}", path)
        elif name in AS_PATTERN and "pattern" not in out:
            out["pattern"] = AS_PATTERN[name]
        elif name in AS_PATTERN:
            out["allOf"] = [*out.get("allOf", ()), {"pattern": AS_PATTERN[name]}]

    def _patterns(self, out: dict[str, Any], path: str, home: str) -> None:
        """Patterns of keys that take nothing but named keys: llguidance finds no key for them and stops."""
        named, patterns = out.get("properties"), out.get("patternProperties")
        if not isinstance(named, Mapping) or not isinstance(patterns, Mapping):
            return
        named, kept = dict(named), {}
        for pattern, value in patterns.items():
            over = [name for name in named if _matches(pattern, name)]
            literals = _LITERALS.fullmatch(pattern)
            if over and literals is not None:
                for name in literals["names"].split("|"):
                    named[name] = {"allOf": [named[name], value]} if name in named else value
            elif over and pattern.endswith("$") and not re.search(r"[*+]|,\}", pattern):
                self._gap(home, f"patternProperties {pattern}", path)
                out["additionalProperties"] = True
            else:
                kept[pattern] = value
        out["properties"] = named
        out["patternProperties"] = kept
        if not kept:
            del out["patternProperties"]

    def _alternatives(self, out: dict[str, Any], path: str, home: str) -> None:
        """OneOf as anyOf: the same where no value fits two of the parts."""
        parts = out.pop("oneOf", None)
        if not isinstance(parts, list):
            return
        if not are_disjoint(parts, self._root):
            self._gap(home, "oneOf", path)
        if "anyOf" in out:
            out["allOf"] = [*out.get("allOf", ()), {"anyOf": parts}]
        else:
            out["anyOf"] = parts


def _is_large(value: object) -> bool:
    """Whether a value holds a number that a 64-bit float may not hold exactly."""
    if isinstance(value, (int, float)):
        return abs(value) > LARGEST_EXACT
    if isinstance(value, Mapping):
        return any(map(_is_large, value.values()))
    return isinstance(value, list) and any(map(_is_large, value))


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "object"
    return "array" if isinstance(value, list) else "number"


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return True
