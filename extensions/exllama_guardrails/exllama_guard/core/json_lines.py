"""Files of JSON lines that people write: one object a line, and where a line is none, why."""

from __future__ import annotations

import json
from typing import Any

from exllama_guard.errors import UserError

__all__ = ["read_object"]


def read_object(line: bytes | str, number: int) -> dict[str, Any]:
    """The JSON object that stands in line `number` of a file (counted from 1).

    Raises:
        UserError: The line is no JSON object; says what it is.
    """
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"line {number} is not JSON ({error}); each line must be one JSON object.") from error
    if not isinstance(data, dict):
        raise UserError(f"line {number} is a {type(data).__name__}; each line must be one JSON object.")
    return data
