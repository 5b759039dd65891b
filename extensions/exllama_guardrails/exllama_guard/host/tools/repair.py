"""Asks the model again where an answer misses its schema: on the page, and wherever the host sends it whole.

Runs in the host's `_generate_reply`, below what observes the reply, so a new try holds the same lock, streams
to the same reader and is measured as part of the same turn. The WebUI's API has its own way (api.py).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from exllama_guard.grounding import answer_of
from exllama_guard.host.guard import guarded
from exllama_guard.host.tools.answers import Judged, ask_again, judge
from exllama_guard.host.tools.reply import current_turn
from exllama_guard.host.tools.turn import ToolTurn
from exllama_guard.host.turn.reply_call import ReplyCall, Texts, repeating
from exllama_guard.host.turn.second_try import SecondTry, put_back
from exllama_guard.tools import MAX_REPAIR_ROUNDS, AnswerOutcome, CallError

__all__ = ["repairing"]

_QUESTION, _ANSWER = "guardrails question", "guardrails answer of the turn before"


@dataclass(frozen=True, slots=True)
class _Call(ReplyCall):
    """A call of `_generate_reply` that may be repeated with another prompt."""

    turn: ToolTurn
    prompt: str
    to_client: bool  # each step is sent at once, and what was sent cannot be taken back

    @property
    def sent(self) -> bool:
        """Whether steps go out as they come: not to a client whose answer nothing makes fit meanwhile."""
        return not self.to_client or self.turn.reply.enforced


def repairing(original: Callable[..., Texts]) -> Callable[..., Texts]:
    """In the place of `_generate_reply`: what misses its schema is asked for again, at most twice."""
    signature = inspect.signature(original)

    @guarded(lambda *args, **kwargs: None)
    def plan(*args: Any, **kwargs: Any) -> _Call | None:  # noqa: ANN401 - the host's
        """The call where its answer must fit a schema and can still be replaced; None for all others."""
        turn = current_turn()
        if turn is None or turn.asked.answer_schema is None:
            return None
        given = signature.bind(*args, **kwargs)
        state, prompt = given.arguments["state"], given.arguments["question"]
        if not given.arguments.get("is_chat") or turn.asked.repairs_itself or turn.reply.begun:
            return None
        to_client = bool(state.get("stream")) and not given.arguments.get("for_ui")
        escaped, left = bool(given.arguments.get("escape_html")), state.get("stop_event")
        return _Call(state, escaped, left, repeating(original, given), turn, prompt, to_client)

    @functools.wraps(original)
    def repaired(*args: Any, **kwargs: Any) -> Texts:  # noqa: ANN401 - the host's
        steps = original(*args, **kwargs)
        call = plan(*args, **kwargs)
        if call is None:
            return (yield from steps)
        last = ""
        with closing(_with_repairs(call, steps)) as texts:
            for last in texts:
                if call.sent:
                    yield last
        if not call.sent:
            yield last
        return None

    return repaired


def _with_repairs(call: _Call, steps: Texts) -> Texts:
    """The steps of the first answer, then those of new tries where they may still take its place."""
    last = ""
    try:
        for last in steps:
            yield last
    finally:
        steps.close()
    if not (call.to_client and call.sent):
        yield from _repairs(call, last)


def _repairs(call: _Call, first: str) -> Texts:
    """Yields new tries as they grow, then the text that stands."""
    given, prompt = first, call.prompt
    for tries in range(MAX_REPAIR_ROUNDS + 1):
        call.turn.asked_again(tries)
        judged = _judged(call, given)
        if judged is None or call.interrupted():
            return
        if judged.outcome is not AnswerOutcome.REFUSED:
            if judged.outcome is AnswerOutcome.REPAIRED:
                call.turn.cut_out(judged.text)
                yield call.given(_cut(call.text(given), judged.text))
            return
        following_prompt = _prompt_again(call, prompt, given, judged.errors)
        if tries == MAX_REPAIR_ROUNDS or following_prompt is None:
            return
        prompt = following_prompt
        new = yield from _tried(call, prompt)
        if not new.strip():
            yield from put_back(given)
            return
        given = new
        if not call.streamed:
            yield new


def _cut(text: str, inner: str) -> str:
    """`inner` after the thinking that `text` opens with, which the host shows folded."""
    answer = answer_of(text)
    return (text[: len(text) - len(answer)] if answer and text.endswith(answer) else "") + inner


def _tried(call: _Call, prompt: str) -> Generator[str, None, str]:
    """Yields a new try as it grows; returns its text, "" where it did not come to its end."""
    new = ""
    with closing(SecondTry(lambda: call.again(prompt, call.state)).grow()) as steps:
        for step in steps:
            if call.interrupted():
                return ""
            new = step
            if call.streamed:
                yield new
    return "" if call.interrupted() else new


@guarded(lambda call, given: None)
def _judged(call: _Call, given: str) -> Judged | None:
    schema = call.turn.asked.answer_schema
    return None if schema is None else judge(call.text(given), schema)


@guarded(lambda call, prompt, given, errors: None)
def _prompt_again(call: _Call, prompt: str, given: str, errors: tuple[CallError, ...]) -> str | None:
    """The prompt with the answer and a message that names its faults; None where the template hides the seam.

    What stands between an answer and the next is read off the host's own template, so the prompt so far stays
    as it is, with what others put into it, and with what the loader has cached of it.
    """
    history: dict[str, Any] = {"internal": [[_QUESTION, _ANSWER]], "visible": [["", ""]], "metadata": {}}
    chat = import_module("modules.chat")
    text = chat.generate_chat_prompt(ask_again(errors), call.state, history=history, _continue=False)
    before, seam, after = str(text).rpartition(_ANSWER)
    return prompt + call.text(given) + after if seam and _QUESTION in before else None
