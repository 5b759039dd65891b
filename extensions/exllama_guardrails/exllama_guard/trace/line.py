"""A trace record as one line of JSON: read tolerantly, with a version and a published schema."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from exllama_guard.errors import TraceError
from exllama_guard.trace.json_lines import object_of
from exllama_guard.trace.record import SCHEMA_VERSION, TraceRecord

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@cache
def _adapter() -> TypeAdapter[TraceRecord]:
    from pydantic import TypeAdapter

    return TypeAdapter(TraceRecord)


def to_line(record: TraceRecord) -> bytes:
    r"""One line of UTF-8 JSON that ends with \n; lone surrogates, which UTF-8 lacks, become `?`."""
    plain = _adapter().dump_python(record, mode="python")
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), default=_plain, allow_nan=False)
    return text.encode("utf-8", "replace") + b"\n"


def _plain(value: object) -> object:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot stand in a trace")


def from_line(line: bytes | str) -> TraceRecord:
    """The record of one line, older versions brought up to date.

    Raises:
        TraceError: The line is no JSON object, of an unknown version, or breaks the schema.
    """
    from pydantic import ValidationError

    try:
        data = object_of(line)
    except ValueError as error:
        raise TraceError(f"{error} instead of a JSON object; the line was cut or edited") from error
    try:
        return _adapter().validate_python(migrated(data))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TraceError(f"{where}: {first['msg']}") from error


def migrated(data: dict[str, Any]) -> dict[str, Any]:
    """The object of a line in the present version; an older one is brought up to date step by step.

    Raises:
        TraceError: Its version is newer or unknown.
    """
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise TraceError(
            f"schema_version {version!r} is not known here (this is {SCHEMA_VERSION}); update the extension"
        )
    return data


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one line, generated from the types."""
    schema = _adapter().json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"ExLlama Guardrails trace {SCHEMA_VERSION}",
        **{key: value for key, value in schema.items() if key != "title"},
    }
