"""Answers under a JSON Schema: which schema counts, how an answer stands, and what asks for a better one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exllama_guard.errors import SchemaError
from exllama_guard.host.guard import report
from exllama_guard.tools import (
    AnswerOutcome,
    CallError,
    compile_checker,
    json_spans,
    read_json,
    without_thinking,
)

__all__ = ["Judged", "answer_schema", "ask_again", "judge", "usable_schema"]


@dataclass(frozen=True, slots=True)
class Judged:
    """How an answer stands; `text` is the JSON itself, "" where it was refused."""

    outcome: AnswerOutcome
    text: str = ""
    errors: tuple[CallError, ...] = ()


def answer_schema(body: Mapping[str, Any], pasted: str) -> Mapping[str, Any] | None:
    """The schema that the answer must fit, or None where it is free.

    The request's `response_format` counts before the schema pasted in the panel.

    Raises:
        SchemaError: The one that is given cannot be used.
    """
    wanted = body.get("response_format")
    schema: object = None
    if isinstance(wanted, Mapping):
        if wanted.get("type") == "json_object":
            schema = {"type": "object"}
        elif wanted.get("type") == "json_schema":
            inner = wanted.get("json_schema")
            schema = inner.get("schema") if isinstance(inner, Mapping) else wanted.get("schema")
    elif pasted.strip():
        read = read_json(pasted)
        if not read.ok:
            raise SchemaError(f"The pasted JSON Schema cannot be used: {read.problems[0].message}")
        schema = read.value
    if schema is None:
        return None
    if not isinstance(schema, Mapping):
        raise SchemaError('The JSON Schema for answers must be an object, such as {"type": "object"}.')
    try:
        compile_checker(schema, closed=False)
    except SchemaError as error:
        raise SchemaError(f"The JSON Schema for answers cannot be used: {error}") from error
    return schema


def usable_schema(body: Mapping[str, Any], pasted: str) -> Mapping[str, Any] | None:
    """The same schema, or None where it cannot be used, which the panel then says."""
    try:
        return answer_schema(body, pasted)
    except SchemaError as error:
        report(str(error), str(error))
        return None


def judge(answer: str, schema: Mapping[str, Any]) -> Judged:
    """How an answer stands under a schema.

    REPAIRED where the JSON is valid but stood inside other text, from which it is cut out.
    """
    check = compile_checker(schema, closed=False)
    text = without_thinking(answer).strip()
    read = read_json(text)
    if read.ok:
        errors = check(read.value)
        return Judged(AnswerOutcome.REFUSED, "", errors) if errors else Judged(AnswerOutcome.VALID, text)
    for start, end in json_spans(text):
        inner = read_json(text[start:end])
        if inner.ok and not check(inner.value):
            return Judged(AnswerOutcome.REPAIRED, text[start:end])
    problem = read.problems[0]
    found = problem.found or problem.code.replace("_", " ")
    error = CallError(problem.code, "", "one JSON value and nothing else", found, problem.message)
    return Judged(AnswerOutcome.REFUSED, "", (error,))


def ask_again(errors: Sequence[CallError]) -> str:
    """The message that asks the model for a better answer: what was wrong where."""
    listed = json.dumps([error.as_dict() for error in errors], ensure_ascii=False)
    return f"Answer again with one JSON value that fits the schema and nothing else. {listed}"
