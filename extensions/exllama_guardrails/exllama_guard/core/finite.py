"""JSON files of fitted numbers: what is damaged is refused in one sentence, never measured by."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from exllama_guard.errors import ScoringError

__all__ = ["read_fitted"]

T = TypeVar("T")


def read_fitted(path: Path, take: Callable[[Any], T]) -> T:
    """What `take` makes of the file's JSON.

    Raises:
        ScoringError: The file is missing or damaged, lacks something, or holds a number that is not finite.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"), parse_float=_finite, parse_constant=_finite)
        return take(raw)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ScoringError(
            f"{path.name} of the extension is damaged; nothing is measured by it: install the extension again"
        ) from error


def _finite(written: str) -> float:
    value = float(written)
    if not math.isfinite(value):
        raise ValueError(f"{written} is no finite number")
    return value
