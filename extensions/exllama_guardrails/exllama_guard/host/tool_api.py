"""The API's side of the tool lock: repair rounds, `response_format`, one chat's key."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from exllama_guard.core.json_strict import canonical_sha256, json_spans, read_json
from exllama_guard.core.tool_attempts import without_thinking
from exllama_guard.core.tool_calls import CallError, compile_checker
from exllama_guard.core.tool_rows import AnswerOutcome, ToolLedger
from exllama_guard.errors import SchemaError
from exllama_guard.host.hooks import guarded
from exllama_guard.host.tool_turn import ToolTurn

__all__ = ["answer_schema", "chat_key", "is_new_chat", "judge", "with_repairs", "with_response_format"]


def with_response_format(request: type) -> type:
    """The API's request class with the field `response_format`, which the host's own class drops."""
    namespace = {"__annotations__": {"response_format": dict[str, Any] | None}, "response_format": None}
    return type(request.__name__, (request,), {**namespace, "__module__": request.__module__})


def chat_key(body: Mapping[str, Any]) -> str:
    """A key of the conversation: the API names none, so its first messages do (each request resends all)."""
    opening = []
    for message in body.get("messages") or []:
        if isinstance(message, Mapping):
            opening.append([str(message.get("role")), str(message.get("content"))])
            if message.get("role") == "user":
                break
    return "api:" + canonical_sha256([opening, str(body.get("user") or "")])[:32]


def is_new_chat(body: Mapping[str, Any]) -> bool:
    """True for the first request of a conversation: nothing has been answered in it yet."""
    roles = {
        str(message.get("role")) for message in body.get("messages") or [] if isinstance(message, Mapping)
    }
    return not roles & {"assistant", "tool"}


def answer_schema(body: Mapping[str, Any], pasted: str) -> tuple[Mapping[str, Any] | None, str]:
    """(the schema that the answer must fit or None, why a given one is not usable or an empty string).

    The request's `response_format` counts before the schema pasted in the panel.
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
            return None, f"The pasted JSON Schema cannot be used: {read.problems[0].message}"
        schema = read.value
    if schema is None:
        return None, ""
    if not isinstance(schema, Mapping):
        return None, 'The JSON Schema for answers must be an object, such as {"type": "object"}.'
    try:
        compile_checker(schema, closed=False)
    except SchemaError as error:
        return None, f"The JSON Schema for answers cannot be used: {error}"
    return schema, ""


def judge(answer: str, schema: Mapping[str, Any]) -> tuple[AnswerOutcome, tuple[CallError, ...]]:
    """How an answer stands under a schema.

    REPAIRED where the JSON is valid but stood inside other text, from which it can be cut out.
    """
    check = compile_checker(schema, closed=False)
    text = without_thinking(answer).strip()
    read = read_json(text)
    if read.ok:
        errors = check(read.value)
        return (AnswerOutcome.REFUSED, errors) if errors else (AnswerOutcome.VALID, ())
    for start, end in json_spans(text):
        inner = read_json(text[start:end])
        if inner.ok and not check(inner.value):
            return AnswerOutcome.REPAIRED, ()
    problem = read.problems[0]
    return AnswerOutcome.REFUSED, (
        CallError(
            problem.code,
            "",
            "one JSON value and nothing else",
            problem.found or problem.code,
            problem.message,
        ),
    )


def with_repairs(
    turn: ToolTurn,
    body: dict[str, Any],
    answer: Callable[[dict[str, Any]], Iterator[Any]],
    stream: bool,
    ledger: ToolLedger,
) -> Iterator[Any]:
    """The host's chunks or response; refused calls go back to the model, twice at most, then to the user.

    Args:
        turn: The turn.
        body: The request.
        answer: Runs the host on a request.
        stream: Whether the host gives chunks.
        ledger: Where answers under a schema are noted.
    """
    messages = list(body.get("messages") or [])
    while True:
        turn.begin_round()
        held: list[Any] = []
        request = {**copy.copy(body), "messages": copy.deepcopy(messages)}
        if turn.rounds:
            request["continue_"] = False  # what was to be continued is answered by a tool message now
        for item in answer(request):
            if held or not stream or _finish(item) is not None:
                held.append(item)
            elif turn.rounds == 0 or not _opens(item):
                yield item
        _note_broken(turn, held)
        problem = _answer_problem(turn, ledger)
        if not turn.refused and problem is None:
            yield from held
            return
        turn.rounds += 1
        if turn.exhausted:
            yield from _given_up(turn, held, stream)
            return
        messages += problem if problem is not None else turn.repair_messages()


@guarded(lambda turn, held: None)
def _note_broken(turn: ToolTurn, held: list[Any]) -> None:
    """Refuses the calls that the host could not read, unless it read others."""
    if turn.refused or not turn.statuses or any(_finish(item) == "tool_calls" for item in held):
        return
    for attempt in turn.broken_attempts(turn.last_answer):
        turn.note_refused(turn.check(attempt.name, attempt.arguments), attempt.arguments)


@guarded(lambda turn, ledger: None)
def _answer_problem(turn: ToolTurn, ledger: ToolLedger) -> list[dict[str, Any]] | None:
    """The messages that ask for a better answer under the turn's schema; None where it is good or free."""
    if turn.answer_schema is None:
        return None
    outcome, errors = judge(turn.last_answer, turn.answer_schema)
    if outcome is AnswerOutcome.VALID:
        ledger.add_answer(turn.chat, AnswerOutcome.REPAIRED if turn.rounds else AnswerOutcome.VALID)
        return None
    turn.answer_errors = errors
    if turn.rounds >= 2:
        ledger.add_answer(turn.chat, AnswerOutcome.REFUSED)
    listed = json.dumps([error.as_dict() for error in errors], ensure_ascii=False)
    return [
        {"role": "assistant", "content": turn.last_answer},
        {
            "role": "user",
            "content": f"Answer again with one JSON value that fits the schema and nothing else. {listed}",
        },
    ]


def _given_up(turn: ToolTurn, held: list[Any], stream: bool) -> Iterator[Any]:
    """The response with one plain sentence in the place of a call that may not run."""
    sentence = turn.last_sentence()
    for item in held:
        item = copy.deepcopy(item)
        for choice in item.get("choices", []):
            if choice.get("finish_reason") is None and not stream:
                continue
            choice["finish_reason"] = "stop"
            part = choice.setdefault("delta" if stream else "message", {})
            part.pop("tool_calls", None)
            part["content"] = sentence
        yield item


@guarded(lambda item: None)
def _finish(item: object) -> str | None:
    choices = item.get("choices") if isinstance(item, Mapping) else None
    return choices[0].get("finish_reason") if choices else None


@guarded(lambda item: False)
def _opens(item: object) -> bool:
    choices: Any = item.get("choices") if isinstance(item, Mapping) else None
    return bool(choices) and "role" in (choices[0].get("delta") or {})
