"""Files of JSON lines: one object a line, and where a line is none, why."""

from __future__ import annotations

import json
from typing import Any

from exllama_guard.errors import UserError

__all__ = ["object_of", "read_object"]


def object_of(line: bytes | str) -> dict[str, Any]:
    """The JSON object that a line is.

    Raises:
        ValueError: It is none; says what it is instead.
    """
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(data, dict):
        raise ValueError(f"a {type(data).__name__}")
    return data


def read_object(line: bytes | str, number: int) -> dict[str, Any]:
    """The JSON object that stands in line `number` of a file (counted from 1).

    Raises:
        UserError: The line is no JSON object; says what it is.
    """
    try:
        return object_of(line)
    except ValueError as error:
        raise UserError(f"line {number} is {error}; each line must be one JSON object.") from error
