"""A call before it runs: a known, locked tool, arguments that its schema allows; and what to answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exllama_guard.errors import SchemaError
from exllama_guard.tools.grammar.closed import close_schema
from exllama_guard.tools.registry import Tool, ToolState, ToolStatus
from exllama_guard.tools.strict_json import MAX_DEPTH, canonical_sha256, read_json

__all__ = [
    "MAX_REPAIR_ROUNDS",
    "CallError",
    "CallVerdict",
    "Checker",
    "check_call",
    "compile_checker",
    "tool_checker",
]

# Two rounds: a model that fails twice on a named path seldom succeeds later (seed study, section 4.2 step 4).
MAX_REPAIR_ROUNDS = 2
# Errors named to the model in one message; more would crowd its context.
MAX_ERRORS = 5


@dataclass(frozen=True, slots=True)
class CallError:
    """One violation: `path` is a JSON pointer into the arguments ("" is the whole)."""

    code: str
    path: str
    expected: str
    found: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """The error as the command line writes it."""
        return {"path": self.path, "expected": self.expected, "found": self.found, "message": self.message}


@dataclass(frozen=True, slots=True)
class CallVerdict:
    """Whether a call may run. `arguments` are the parsed ones; None where they could not be read."""

    name: str
    errors: tuple[CallError, ...]
    arguments: Any = None
    arguments_sha256: str | None = None

    @property
    def valid(self) -> bool:
        """True when nothing speaks against the call."""
        return not self.errors


Checker = Callable[[Any], tuple[CallError, ...]]


def compile_checker(schema: Mapping[str, Any] | bool, *, closed: bool = True) -> Checker:
    """A function from a value to its violations of `schema`, at most MAX_ERRORS, in document order.

    The draft is read from `$schema` (4, 6, 7, 2019-09, 2020-12; 2020-12 where it is absent). Formats are
    checked. A reference to another document is never fetched. With `closed`, unknown keys are violations.

    Raises:
        SchemaError: The schema is not a valid JSON Schema, or refers to another document; or the library
            that checks is missing.
    """
    try:
        from jsonschema_rs import ReferencingError, RegexOptions, ValidationError, validator_for
    except ImportError as error:
        raise SchemaError(
            "jsonschema-rs is not installed, so no call can be checked and none is let through; "
            "run `pip install jsonschema-rs` in the WebUI's environment and restart."
        ) from error
    if isinstance(schema, Mapping):
        schema = close_schema(schema) if closed else dict(schema)
    options: dict[str, Any] = {"validate_formats": True, "retriever": _never_fetch}
    try:
        try:  # patterns run in linear time where they can
            validator = validator_for(schema, pattern_options=RegexOptions(), **options)
        except (ValidationError, ValueError):
            validator = validator_for(schema, **options)
    except (ValidationError, ReferencingError, ValueError, TypeError, RecursionError) as error:
        raise SchemaError(_schema_fault(error)) from error

    def check(value: Any) -> tuple[CallError, ...]:  # noqa: ANN401 - any JSON value
        if validator.is_valid(value):
            return ()
        errors: list[CallError] = []
        for error in validator.iter_errors(value):
            errors.append(_violation(error))
            if len(errors) == MAX_ERRORS:
                break
        return tuple(errors)

    return check


def check_call(
    name: str,
    arguments: object,
    status: ToolStatus | None,
    checker: Checker | None,
    *,
    known: Sequence[str] = (),
) -> CallVerdict:
    """The verdict on one call.

    Args:
        name: The tool that the model named.
        arguments: The arguments' text as the model wrote it, or values that a host has parsed.
        status: The tool's standing in this chat; None for an unknown tool.
        checker: The tool's compiled schema; None where it could not be compiled: the call is refused.
        known: Names that the model may call, for the message.
    """
    fault = _not_callable(name, status, known)
    if fault is not None:
        return CallVerdict(name, (fault,))
    if isinstance(arguments, str):
        read = read_json(arguments)
        if not read.ok:
            return CallVerdict(
                name,
                tuple(_json_error(problem.code, problem.message, problem.found) for problem in read.problems),
            )
        arguments = read.value
    fault = _bad_value(arguments)
    if fault is not None:
        return CallVerdict(name, (fault,))
    digest = canonical_sha256(arguments)
    if not isinstance(arguments, dict):
        wrong = CallError(
            "type", "", "an object", _shown(arguments), "The arguments must be one JSON object."
        )
        return CallVerdict(name, (wrong,), arguments, digest)
    if checker is None:
        missing = CallError(
            "schema",
            "",
            "a usable schema",
            "none",
            f"The schema of '{name}' cannot be used, so no call of it can be checked.",
        )
        return CallVerdict(name, (missing,), arguments, digest)
    return CallVerdict(name, checker(arguments), arguments, digest)


def _not_callable(name: str, status: ToolStatus | None, known: Sequence[str]) -> CallError | None:
    if status is None or status.state is ToolState.GONE:
        names = ", ".join(known) or "none"
        return CallError(
            "unknown_tool", "", f"one of: {names}", name, f"There is no tool '{name}' in this turn."
        )
    if status.state is ToolState.DRIFTED:
        # The change itself stays out of the message: it goes to the model, and may be written to steer it.
        return CallError(
            "drift", "", "the locked definition", "a changed one", f"'{name}' is blocked: {status.reason}"
        )
    if status.state is ToolState.UNUSABLE:
        return CallError(
            "schema", "", "a usable schema", status.reason, f"'{name}' is blocked: {status.reason}"
        )
    return None


def _bad_value(value: object) -> CallError | None:
    """What a value that a host parsed leniently holds that JSON does not, or None."""
    level: list[tuple[str, object]] = [("", value)]
    for _ in range(MAX_DEPTH + 1):
        below: list[tuple[str, object]] = []
        for path, part in level:
            if isinstance(part, float) and (part != part or part in (float("inf"), float("-inf"))):
                return CallError("not_a_number", path, "a number", str(part), f"{part} is not JSON.")
            if isinstance(part, dict):
                below += [(f"{path}/{_step(key)}", item) for key, item in part.items()]
            elif isinstance(part, list):
                below += [(f"{path}/{index}", item) for index, item in enumerate(part)]
        if not below:
            return None
        level = below
    return _json_error("too_deep", f"The arguments nest deeper than {MAX_DEPTH} levels; flatten them.", "")


def _json_error(code: str, message: str, found: str) -> CallError:
    return CallError(code, "", "one strict JSON object", found or code.replace("_", " "), message)


def _step(key: object) -> str:
    """One step of a JSON pointer."""
    return str(key).replace("~", "~0").replace("/", "~1")


def _never_fetch(uri: str) -> Any:  # noqa: ANN401 - the library's signature
    raise ValueError(f"references to other documents are not followed: {uri}")


def _schema_fault(error: Exception) -> str:
    text = str(error).split("\n\n")[0].strip()
    if "retrieving it failed" in text or "not followed" in text:
        return f"The schema refers to another document, which is never fetched; copy it in. {text[:200]}"
    return f"The schema is not a valid JSON Schema: {text[:300]}."


def _violation(error: Any) -> CallError:  # noqa: ANN401 - the library's error
    kind = error.kind.name
    path = "".join(f"/{_step(step)}" for step in error.instance_path)
    found = _shown(error.instance)
    if kind == "required":
        path, found = f"{path}/{_step(error.kind.property)}", "nothing"
        expected = "a value (required)"
    elif kind in ("additionalProperties", "unevaluatedProperties"):
        unexpected = ", ".join(error.kind.unexpected)
        expected, found = "no unknown keys", unexpected
        if len(error.kind.unexpected) == 1:
            path = f"{path}/{_step(unexpected)}"
    else:
        expected = _expected(kind, error)
    return CallError(kind, path, expected, found, str(error.message)[:400])


_PHRASES = {
    "type": "type {}",
    "enum": "one of {}",
    "const": "exactly {}",
    "minimum": "a number >= {}",
    "maximum": "a number <= {}",
    "exclusiveMinimum": "a number > {}",
    "exclusiveMaximum": "a number < {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} keys",
    "maxProperties": "at most {} keys",
    "pattern": "text that matches {}",
    "format": "text in the format {}",
    "uniqueItems": "items that differ",
    "anyOf": "a value that fits one of the alternatives",
    "oneOf": "a value that fits exactly one of the alternatives",
    "not": "a value that does not fit the excluded schema",
}


def _expected(kind: str, error: Any) -> str:  # noqa: ANN401 - the library's error
    value = getattr(error.kind, "types", None) or getattr(error.kind, "value", None)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return _PHRASES.get(kind, kind).format(_shown(value) if not isinstance(value, str) else value)


def _shown(value: object) -> str:
    """A value on one short line."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def tool_checker(tool: Tool) -> Checker:
    """The compiled checker of a tool.

    Raises:
        SchemaError: Its calls cannot be checked.
    """
    if tool.problem:
        raise SchemaError(tool.problem)
    return compile_checker(tool.parameters)
