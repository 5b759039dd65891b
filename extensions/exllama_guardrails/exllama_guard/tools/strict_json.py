"""Strict reading of JSON that a model wrote, and one canonical text for equal values."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

__all__ = [
    "MAX_CHARS",
    "MAX_DEPTH",
    "JsonProblem",
    "StrictJson",
    "canonical_json",
    "canonical_sha256",
    "json_spans",
    "read_json",
]

# Deeper or longer arguments come from a model that repeats itself; no published tool schema nests past 20.
MAX_DEPTH = 64
MAX_CHARS = 4_000_000

_OPEN = re.compile(r'["\[\]{}]')
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class JsonProblem:
    """Why a text is not strict JSON; `code` is one of the names in docs/tools.md."""

    code: str
    message: str
    found: str = ""


@dataclass(frozen=True, slots=True)
class StrictJson:
    """A value read from text, or the problems that kept it from being one."""

    value: Any
    problems: tuple[JsonProblem, ...] = ()

    @property
    def ok(self) -> bool:
        """True when the text was one strict JSON value and nothing else."""
        return not self.problems


class _RefusedError(ValueError):
    """Carries a problem out of the standard library's parser."""

    def __init__(self, problem: JsonProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def _no_constant(name: str) -> NoReturn:
    raise _RefusedError(
        JsonProblem("not_a_number", f"{name} is not JSON; write a number or null instead.", name)
    )


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _RefusedError(
            JsonProblem(
                "number_too_large", f"{text[:40]} is larger than a number may be (1.8e308).", text[:40]
            )
        )
    return value


def _integer(text: str) -> int:
    if len(text) > 310:
        raise _RefusedError(
            JsonProblem(
                "number_too_large", f"A whole number has {len(text)} digits; 310 are allowed.", text[:40]
            )
        )
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise _RefusedError(
            JsonProblem("duplicate_key", f"The key '{twice}' stands more than once; give it once.", twice)
        )
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite, parse_int=_integer
)


def read_json(text: str, *, max_depth: int = MAX_DEPTH, max_chars: int = MAX_CHARS) -> StrictJson:
    """The one JSON value that `text` is, or what is wrong with it; never raises.

    Refused beyond what `json.loads` refuses: duplicate keys, NaN and Infinity, numbers out of range, nesting
    past `max_depth`, lone surrogates, text before or after the value, a value that breaks off.
    """
    stripped = text.strip(" \t\r\n")
    if not stripped:
        return StrictJson(None, (JsonProblem("empty", "There is no JSON, only white space."),))
    if len(stripped) > max_chars:
        return StrictJson(
            None,
            (JsonProblem("too_long", f"The JSON has {len(stripped)} characters; {max_chars} are allowed."),),
        )
    if _deepest(stripped, max_depth) > max_depth:
        return StrictJson(
            None,
            (JsonProblem("too_deep", f"The JSON nests deeper than {max_depth} levels; flatten it."),),
        )
    try:
        value, end = _DECODER.raw_decode(stripped)
    except _RefusedError as refused:
        return StrictJson(None, (refused.problem,))
    except ValueError as error:
        return StrictJson(None, (_why_not(stripped, error),))
    if stripped[end:].strip(" \t\r\n"):
        rest = stripped[end:].strip()
        return StrictJson(
            None, (JsonProblem("mixed_prose", f"Text follows the JSON: {_short(rest)}", rest[:80]),)
        )
    if "\\u" in stripped and _has_lone_surrogate(value):
        return StrictJson(None, (JsonProblem("bad_text", "A \\u escape stands for half a character."),))
    return StrictJson(value)


def json_spans(text: str) -> Iterator[tuple[int, int]]:
    """Half-open ranges of the outermost balanced `{...}` and `[...]` in `text`, in order."""
    depth = 0
    start = -1
    position = 0
    while match := _OPEN.search(text, position):
        position = match.end()
        mark = match.group()
        if mark == '"':
            if depth == 0:
                continue
            string = _STRING.match(text, match.start())
            if string is None:
                return
            position = string.end()
        elif mark in "{[":
            start = match.start() if depth == 0 else start
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                yield start, position


def canonical_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """One text for equal JSON values: keys sorted as in RFC 8785, no white space, 1.0 written as 1.

    Raises:
        ValueError: The value holds NaN or Infinity.
        TypeError: The value is not JSON.
    """
    return json.dumps(_canonical(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def canonical_sha256(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """64 hex digits: sha256 of the canonical JSON's UTF-8 bytes.

    Raises:
        ValueError: The value holds NaN or Infinity.
        TypeError: The value is not JSON.
    """
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def _canonical(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"a JSON object's keys are strings, not {type(key).__name__}")
        ordered = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return {key: _canonical(value[key]) for key in ordered}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _deepest(text: str, limit: int) -> int:
    """Deepest nesting in `text`, counted up to one past `limit`."""
    if text.count("{") + text.count("[") <= limit:
        return 0
    depth = deepest = position = 0
    while match := _OPEN.search(text, position):
        position = match.end()
        mark = match.group()
        if mark == '"':
            string = _STRING.match(text, match.start())
            position = string.end() if string else len(text)
        elif mark in "{[":
            depth += 1
            deepest = max(deepest, depth)
            if deepest > limit:
                return deepest
        else:
            depth -= 1
    return deepest


def _why_not(text: str, error: ValueError) -> JsonProblem:
    """The plainest name for a text that the parser refused."""
    if text[0] in "{[" and _breaks_off(text):
        return JsonProblem("truncated", f"The JSON breaks off after: {_short(text[-40:])}", text[-40:])
    if text[0] not in "{[":
        for start, end in json_spans(text):
            if read_json(text[start:end]).ok:
                return JsonProblem(
                    "mixed_prose", f"Text stands before the JSON: {_short(text[:start])}", text[:80]
                )
    return JsonProblem("bad_json", f"This is not JSON: {error}.", text[:80])


def _breaks_off(text: str) -> bool:
    """True when brackets or a string are still open at the end of `text`."""
    depth = position = 0
    while match := _OPEN.search(text, position):
        position = match.end()
        mark = match.group()
        if mark == '"':
            string = _STRING.match(text, match.start())
            if string is None:
                return True
            position = string.end()
        else:
            depth += 1 if mark in "{[" else -1
    return depth > 0


def _has_lone_surrogate(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, dict):
        return any(_has_lone_surrogate(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(_has_lone_surrogate(part) for part in value)
    return False


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 60 else text[:57] + "...")
