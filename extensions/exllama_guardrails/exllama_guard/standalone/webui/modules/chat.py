"""One chat turn with its hooks in the WebUI's order: send, regenerate, continue, stop."""

from __future__ import annotations

import copy
import html
import time
from collections.abc import Iterator
from typing import Any

from modules import shared
from modules.extensions import apply_extensions
from modules.html_generator import chat_html_wrapper
from modules.text_generation import generate_reply, get_encoded_length, get_max_prompt_length

History = dict[str, Any]
State = dict[str, Any]


def empty_history() -> History:
    """A chat without a turn."""
    return {"internal": [], "visible": [], "metadata": {}}


def get_stopping_strings(state: State) -> list[str]:
    """Texts at which a reply ends; in chat mode the names of both sides."""
    if state["mode"] == "instruct":
        return []
    return [f"\n{state['name1']}:", f"\n{state['name2']}:"]


def generate_chat_prompt(user_input: str, state: State, **kwargs: Any) -> str:  # noqa: ANN401 - the WebUI's signature
    """The next reply's prompt by the model's chat template; the oldest turns go when it is too long."""
    history: History = kwargs["history"] if "history" in kwargs else state["history"]
    _continue = bool(kwargs.get("_continue", False))
    turns = _messages(history, state)
    if not _continue:
        pair = len(history["internal"])
        turns.append([{"role": "user", "content": user_input + _attachments(history, pair, state)}])
    limit = get_max_prompt_length(state)
    while True:
        prompt = _rendered([message for turn in turns for message in turn], state, _continue)
        if len(turns) == 1 or get_encoded_length(prompt) <= limit:
            return prompt
        turns.pop(0)


def _messages(history: History, state: State) -> list[list[dict[str, str]]]:
    turns = []
    for row, (asked, answered, *_) in enumerate(history["internal"]):
        turn = []
        if asked:
            turn.append({"role": "user", "content": asked + _attachments(history, row, state)})
        if answered:
            turn.append({"role": "assistant", "content": answered})
        turns.append(turn)
    return turns


def _attachments(history: History, row: int, state: State) -> str:
    found = history.get("metadata", {}).get(f"user_{row}", {}).get("attachments", [])
    if not found or (row < len(history["internal"]) and not state.get("include_past_attachments", True)):
        return ""
    parts = [
        f"\nName: {item.get('name', 'file')}\n"
        + (f"URL: {item['url']}\n" if item.get("url") else "")
        + f"Contents:\n\n=====\n{item.get('content', '')}\n=====\n\n"
        for item in found
    ]
    return "\n\nATTACHMENTS:\n" + "".join(parts)


def _rendered(messages: list[dict[str, str]], state: State, _continue: bool) -> str:
    system = str(state.get("custom_system_message", "")).strip()
    if system:
        messages = [{"role": "system", "content": system}, *messages]
    if not (state.get("instruction_template_str") or shared.tokenizer.chat_template):
        text = "".join(f"{message['role']}: {message['content']}\n" for message in messages)
        return text[:-1] if _continue else text + "assistant:"
    ends_with_reply = bool(_continue and messages and messages[-1]["role"] == "assistant")
    prompt = shared.tokenizer.apply_chat_template(
        messages,
        chat_template=state.get("instruction_template_str") or None,
        tools=state.get("tools") or None,
        tokenize=False,
        add_generation_prompt=not ends_with_reply,
        continue_final_message=ends_with_reply,
    )
    return str(prompt)


def _noted(history: History, key: str, **values: object) -> None:
    history["metadata"].setdefault(key, {}).update(timestamp=time.strftime("%b %d, %Y %H:%M"), **values)


def _new_turn(output: History, text: str | dict[str, Any], state: State) -> None:
    """Adds the user's message to `output` as the hooks leave it."""
    asked = str(text.get("text", "")) if isinstance(text, dict) else text
    inner, visible = apply_extensions("chat_input", asked, html.escape(asked), state)
    inner = apply_extensions("input", inner, state, is_chat=True)
    _noted(output, f"user_{len(output['internal'])}")
    output["internal"].append([inner, ""])
    output["visible"].append([visible, ""])


def _prompt(asked: str, state: State, output: History, _continue: bool) -> str:
    kept = output if _continue else {**output, **{k: output[k][:-1] for k in ("internal", "visible")}}
    kwargs = {"_continue": _continue, "history": kept}
    prompt = apply_extensions("custom_generate_chat_prompt", asked, state, **kwargs)
    if prompt is None:
        prompt = generate_chat_prompt(asked, state, **kwargs)
    prefix = "" if state["mode"] == "instruct" else apply_extensions("bot_prefix", "", state)
    return f"{prompt}{prefix}"


def chatbot_wrapper(
    text: str | dict[str, Any],
    state: State,
    regenerate: bool = False,
    _continue: bool = False,
    loading_message: bool = True,
    for_ui: bool = False,
) -> Iterator[History]:
    """The history with the reply so far, again and again."""
    output = apply_extensions("history", copy.deepcopy(state["history"]))
    state = apply_extensions("state", state)
    output.setdefault("metadata", {})
    before = ["", ""]
    if not (regenerate or _continue):
        _new_turn(output, text, state)
    asked, visible_text = output["internal"][-1][0], output["visible"][-1][0]
    if _continue:
        before = [output["internal"][-1][1], output["visible"][-1][1]]
    row = len(output["internal"]) - 1
    if loading_message:
        waiting = before[1] + "..." if _continue else shared.processing_message
        yield {**output, "visible": [*output["visible"][:-1], [visible_text, waiting]]}
    prompt = _prompt(asked, state, output, _continue)
    _noted(output, f"assistant_{row}", model_name=shared.model_name)
    stops = get_stopping_strings(state)
    for reply in generate_reply(prompt, state, stopping_strings=stops, is_chat=True, for_ui=for_ui):
        if shared.stop_everything:
            break
        fresh = reply if _continue else reply.lstrip(" ")
        output["internal"][-1] = [asked, before[0] + fresh]
        output["visible"][-1] = [visible_text, before[1] + html.escape(fresh)]
        if state["stream"]:
            yield output
    shown = output["visible"][-1][1]
    if _continue and not shared.stop_everything:
        shown = html.escape(output["internal"][-1][1])  # the whole reply again, as the WebUI does
    if not state.get("_skip_output_extensions"):
        output["visible"][-1][1] = apply_extensions("output", shown, state, is_chat=True)
    yield output


def generate_chat_reply(
    text: str | dict[str, Any],
    state: State,
    regenerate: bool = False,
    _continue: bool = False,
    loading_message: bool = True,
    for_ui: bool = False,
) -> Iterator[History]:
    """As `chatbot_wrapper`; regenerating or continuing an empty chat changes nothing."""
    if regenerate or _continue:
        text = ""
        if not state["history"]["internal"]:
            yield state["history"]
            return
    yield from chatbot_wrapper(text, state, regenerate, _continue, loading_message, for_ui)


def generate_chat_reply_wrapper(
    text: str | dict[str, Any], state: State, regenerate: bool = False, _continue: bool = False
) -> Iterator[tuple[dict[str, Any], History]]:
    """What the page's display and history get, again and again."""
    for history in generate_chat_reply(text, state, regenerate, _continue, loading_message=True, for_ui=True):
        yield redraw_html(history), history


def redraw_html(history: History) -> dict[str, Any]:
    """Value of the page's display component for `history`."""
    return {"html": chat_html_wrapper(history)}


def remove_last_message(history: History) -> tuple[str, History]:
    """(the last question, the history without its last turn)."""
    if not history["internal"]:
        return "", history
    row = len(history["internal"]) - 1
    asked = html.unescape(history["visible"][-1][0])
    metadata = {k: v for k, v in history.get("metadata", {}).items() if not k.endswith(f"_{row}")}
    shorter = {
        "internal": history["internal"][:-1],
        "visible": history["visible"][:-1],
        "metadata": metadata,
    }
    return asked, shorter
