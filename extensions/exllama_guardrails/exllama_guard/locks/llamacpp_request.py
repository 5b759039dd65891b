"""A lock as part of a llama.cpp request: one JSON schema for the whole reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exllama_guard.core.tool_closed import close_schema
from exllama_guard.core.tool_schema import Tool

__all__ = ["call_schema", "locked_payload"]


def call_schema(tools: Sequence[Tool]) -> dict[str, Any]:
    """The schema of one call as plain JSON, `{"name", "arguments"}`, which needs no envelope for the host.

    Definitions of each tool keep their place: their names are prefixed, and references follow.
    """
    branches: list[dict[str, Any]] = []
    definitions: dict[str, Any] = {}
    for index, tool in enumerate(tools):
        schema = _moved(close_schema(tool.parameters), f"tool_{index}_")
        for home in ("$defs", "definitions"):
            definitions.update({f"tool_{index}_{key}": part for key, part in schema.pop(home, {}).items()})
        schema.pop("$schema", None)
        schema.setdefault("type", "object")
        branches.append(
            {
                "type": "object",
                "properties": {"name": {"const": tool.name}, "arguments": schema},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    out: dict[str, Any] = branches[0] if len(branches) == 1 else {"anyOf": branches}
    return {**out, "$defs": definitions} if definitions else out


def locked_payload(payload: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """`payload` with `json_schema` and without `grammar`: where both are, the server reads the grammar."""
    out = {key: value for key, value in payload.items() if key != "grammar"}
    out["json_schema"] = dict(schema)
    return out


def _moved(value: Any, prefix: str) -> Any:  # noqa: ANN401 - any JSON value
    """`value` with local references to definitions renamed."""
    if isinstance(value, list):
        return [_moved(part, prefix) for part in value]
    if not isinstance(value, dict):
        return value
    out = {key: _moved(part, prefix) for key, part in value.items()}
    reference = out.get("$ref")
    if isinstance(reference, str):
        for home in ("#/$defs/", "#/definitions/"):
            if reference.startswith(home):
                out["$ref"] = f"#/$defs/{prefix}{reference[len(home) :]}"
    return out
