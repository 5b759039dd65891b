"""OpenAI-like requests as turns of the host: hooks run, the output hook's text is discarded."""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Iterator
from typing import Any

from modules import shared
from modules.chat import empty_history, generate_chat_reply
from modules.text_generation import generate_reply

_PASSED_ON = ("temperature", "top_p", "top_k", "min_p", "seed", "repetition_penalty", "grammar_string")
Body = dict[str, Any]


class BadRequest(ValueError):
    """The request cannot be answered; the text says what to change."""


def state_of(body: Body, stop_event: object) -> dict[str, Any]:
    """Generation state of a request: the server's settings with the request's own over them.

    Raises:
        BadRequest: A value has the wrong type.
    """
    state: dict[str, Any] = copy.deepcopy(shared.settings)
    state.update({key: body[key] for key in _PASSED_ON if body.get(key) is not None})
    try:
        state["max_new_tokens"] = int(body.get("max_tokens") or state["max_new_tokens"])
    except (TypeError, ValueError) as error:
        raise BadRequest(f"max_tokens is {body.get('max_tokens')!r}; give a whole number.") from error
    stop = body.get("stop") or []
    stops = [stop] if isinstance(stop, str) else [str(item) for item in stop]
    state.update(
        custom_stopping_strings=stops,
        stream=bool(body.get("stream", False)),
        stop_event=stop_event,
        history=empty_history(),
        do_sample=float(state["temperature"]) > 0,
    )
    return state


def chat_texts(body: Body, stop_event: object) -> Iterator[str]:
    """The reply so far, again and again, for a /v1/chat/completions body.

    Raises:
        BadRequest: The messages are missing or of the wrong form.
    """
    state = state_of(body, stop_event)
    asked = _read_messages(body.get("messages"), state)
    last = ""
    for history in generate_chat_reply(asked, state, loading_message=False):
        if history["internal"]:
            last = history["internal"][-1][1]
            yield last
    yield last


def completion_texts(body: Body, stop_event: object) -> Iterator[str]:
    """The text so far, again and again, for a /v1/completions body.

    Raises:
        BadRequest: The prompt is missing.
    """
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise BadRequest("prompt must be one string.")
    yield from generate_reply(prompt, state_of(body, stop_event), is_chat=False)


def _read_messages(messages: object, state: dict[str, Any]) -> str:
    """The last user message; the ones before it go into `state`."""
    if not isinstance(messages, list) or not messages:
        raise BadRequest('messages must be a list such as [{"role": "user", "content": "Hello"}].')
    history: list[list[str]] = state["history"]["internal"]
    pending: str | None = None
    for message in messages:
        role, content = _read_message(message)
        if role == "system":
            state["custom_system_message"] = content
        elif role == "user":
            if pending is not None:
                history.append([pending, ""])
            pending = content
        elif role == "assistant":
            history.append([pending or "", content])
            pending = None
        else:
            raise BadRequest(f"This stand-in knows the roles system, user and assistant, not {role!r}.")
    state["history"]["visible"] = [list(pair) for pair in history]
    if pending is None:
        raise BadRequest("The last message must be the user's.")
    return pending


def _read_message(message: object) -> tuple[str, str]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise BadRequest("Each message must have a role and a content.")
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str):
        raise BadRequest("Each message's content must be text.")
    return message["role"], content


def envelope(chat: bool, chunk: bool) -> dict[str, Any]:
    """The fields that every answer has."""
    kind = ("chat.completion.chunk" if chunk else "chat.completion") if chat else "text_completion"
    return {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex[:24]}",
        "object": kind,
        "created": int(time.time()),
        "model": shared.model_name,
    }


def choice(chat: bool, chunk: bool, text: str, finish: str | None) -> dict[str, Any]:
    """One entry of `choices`."""
    if not chat:
        return {"index": 0, "text": text, "finish_reason": finish}
    message = {"content": text} if chunk and finish else {"role": "assistant", "content": text}
    return {"index": 0, "delta" if chunk else "message": message, "finish_reason": finish}
