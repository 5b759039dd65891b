"""The API's side of the tool lock: repair rounds, `response_format`, one chat's key."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from exllama_guard.host.guard import guarded
from exllama_guard.host.tools.answers import ask_again, judge
from exllama_guard.host.tools.turn import ToolTurn
from exllama_guard.tools import MAX_REPAIR_ROUNDS, AnswerOutcome, ToolLedger, canonical_sha256

__all__ = ["chat_key", "is_new_chat", "reply_key", "with_repairs", "with_response_format"]


def with_response_format(request: type) -> type:
    """The API's request class with the fields that the lock reads and the host's own class drops.

    `response_format` in both versions, `tool_choice` in 3.23.
    """
    kinds: dict[str, Any] = {"response_format": dict[str, Any] | None, "tool_choice": Any}
    known = getattr(request, "model_fields", {})
    missing = {name: kind for name, kind in kinds.items() if name not in known}
    namespace = {"__annotations__": missing, **dict.fromkeys(missing), "__module__": request.__module__}
    return type(request.__name__, (request,), namespace)


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


def reply_key(state: object, text: object) -> str:
    """A key like `chat_key`'s, for a reply whose request is not seen: by what was first asked in it."""
    history = state.get("history") if isinstance(state, Mapping) else None
    rows = history.get("internal") if isinstance(history, Mapping) else None
    return chat_key({"messages": [{"role": "user", "content": rows[0][0] if rows else text}]})


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
        sent = False
        for item in answer(request):
            opens = _opens(item)
            if not opens and (held or not stream or _finish(item) is not None or _kept_back(turn)):
                held.append(item)
            elif turn.rounds == 0 or not opens:
                sent = sent or not opens
                yield item
        _note_broken(turn, held)
        problem = _answer_problem(turn, ledger, sent)
        if not turn.refused and problem is None:
            yield from _as_it_ended(turn, held, stream)
            return
        turn.next_round()
        if turn.exhausted:
            yield from _given_up(turn, held, stream)
            return
        messages += problem if problem is not None else turn.repair_messages()


@guarded(lambda turn, held: None)
def _note_broken(turn: ToolTurn, held: list[Any]) -> None:
    """Refuses the calls that the host could not read, unless it read others."""
    if turn.refused or not turn.statuses or any(_finish(item) == "tool_calls" for item in held):
        return
    for attempt in turn.broken_attempts(turn.answer.text):
        turn.note_refused(turn.check(attempt.name, attempt.arguments), attempt.arguments)


@guarded(lambda turn: False)
def _kept_back(turn: ToolTurn) -> bool:
    """Whether text is held until it is checked: where nothing makes an answer fit while it is written."""
    return turn.asked.answer_schema is not None and not turn.reply.enforced


@guarded(lambda turn, ledger, sent: None)
def _answer_problem(turn: ToolTurn, ledger: ToolLedger, sent: bool) -> list[dict[str, Any]] | None:
    """The messages that ask for a better answer; None where it is good, has been sent, or is free."""
    if turn.asked.answer_schema is None:
        return None
    judged = judge(turn.answer.text, turn.asked.answer_schema)
    turn.judged(judged.errors)
    if judged.outcome is AnswerOutcome.REPAIRED and not sent:
        turn.cut_out(judged.text)
    elif judged.outcome is not AnswerOutcome.VALID:
        if turn.rounds >= MAX_REPAIR_ROUNDS or sent:
            ledger.add_answer(turn.chat, AnswerOutcome.REFUSED)
        message = {"role": "user", "content": ask_again(judged.errors)}
        return None if sent else [{"role": "assistant", "content": turn.answer.text}, message]
    ledger.add_answer(turn.chat, turn.outcome_that_fits())
    return None


@guarded(lambda turn, held, stream: held)
def _as_it_ended(turn: ToolTurn, held: list[Any], stream: bool) -> list[Any]:
    """What was held, with the JSON alone where it stood inside other text, and its limit as what ended it."""
    if turn.answer.cut:
        held = list(_with_text(held, stream, turn.answer.text))
    if turn.asked.answer_schema is None or not turn.reply.closed:
        return held
    held = copy.deepcopy(held)
    for item in held:
        if _finish(item) == "stop":
            item["choices"][0]["finish_reason"] = "length"
    return held


def _given_up(turn: ToolTurn, held: list[Any], stream: bool) -> Iterator[Any]:
    """The response with one plain sentence in the place of a call that may not run."""
    return _with_text(held, stream, turn.last_sentence())


def _with_text(held: list[Any], stream: bool, text: str) -> Iterator[Any]:
    """The response with `text` in place of what it held, tool calls included."""
    for item in held:
        item = copy.deepcopy(item)
        choices = item.get("choices", [])
        if stream and choices and _finish(item) is None:
            continue  # a part of the text that is replaced
        for choice in choices:
            choice["finish_reason"] = "stop"
            part = choice.setdefault("delta" if stream else "message", {})
            for holder in (choice, part):  # 3.23 puts them beside the message
                holder.pop("tool_calls", None)
            part["content"] = text
        yield item


@guarded(lambda item: None)
def _finish(item: object) -> str | None:
    choices = item.get("choices") if isinstance(item, Mapping) else None
    return choices[0].get("finish_reason") if choices else None


@guarded(lambda item: False)
def _opens(item: object) -> bool:
    """True for the chunk that opens a streamed reply: a role, no text (3.23 has the role in each chunk)."""
    choices: Any = item.get("choices") if isinstance(item, Mapping) else None
    if not choices or choices[0].get("finish_reason") is not None:
        return False
    delta = choices[0].get("delta") or {}
    return "role" in delta and not delta.get("content")
