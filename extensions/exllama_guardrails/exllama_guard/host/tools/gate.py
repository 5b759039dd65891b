"""The gate before a tool: what the host loads, reads as a call and runs goes through here first."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from exllama_guard.host.guard import guarded, report
from exllama_guard.host.tools.reply import current_turn
from exllama_guard.host.tools.turn import BROKEN_NAME, Services, ToolTurn
from exllama_guard.tools import LockMode

__all__ = ["ToolGate"]

_UNCHECKED = json.dumps({"error": "This call could not be checked, so it was not run."})


def _unchecked(self: ToolGate, name: str, arguments: object) -> tuple[str | None, object]:
    return _UNCHECKED, None


class ToolGate:
    """Wraps the host's functions for tools; a wrapper passes the call on or answers in the tool's place."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stray: ToolTurn | None = None  # for tools loaded outside a reply that is known

    def loading(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """In the place of `load_tools` and `load_mcp_tools`."""

        @functools.wraps(original)
        def load(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the host's signature
            definitions, executors = original(*args, **kwargs)
            if current_turn() is None:
                self._note_stray(definitions)
            return definitions, executors

        return load

    @guarded(lambda self, definitions: None)
    def _note_stray(self, definitions: list[Any]) -> None:
        if self._stray is None:
            self._stray = ToolTurn(self._services, "unknown reply")
        self._stray.observe(definitions)

    def parsing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """In the place of 4.7's `parse_tool_call` and 3.23's `parseToolCall`."""

        @functools.wraps(original)
        def parse_tool_call(
            answer: str,
            tool_names: list[str],
            *args: Any,  # noqa: ANN401 - the host's
            **kwargs: Any,  # noqa: ANN401 - the host's
        ) -> Any:  # noqa: ANN401 - the host's signature
            calls = original(answer, tool_names, *args, **kwargs)
            turn = current_turn()
            if turn is None:
                return calls
            if kwargs.get("return_prefix", args[0] if args else False):
                found, prefix = calls
                return self._final_calls(turn, answer, found), prefix
            return self._seen_calls(turn, answer, calls)

        return parse_tool_call

    @guarded(lambda self, turn, answer, calls: calls)
    def _seen_calls(self, turn: ToolTurn, answer: str, calls: list[Any]) -> list[Any]:
        """While a reply grows: on the page whatever the host sees; for the API only valid calls."""
        if self._services.mode() is LockMode.OFF:
            return calls
        if turn.exhausted:
            return []
        calls = turn.reread(answer, calls) if calls else turn.repaired_calls(answer)
        if not turn.is_api:
            return calls
        good = []
        for call in calls:
            name, arguments = str(call["function"].get("name")), call["function"].get("arguments")
            verdict = turn.check(name, arguments)
            if verdict.valid:
                turn.passed(verdict, executed=False)
                good.append({**call, "function": {**call["function"], "arguments": verdict.arguments}})
            else:
                turn.note_refused(verdict, arguments, goes_on=bool(good) and turn.is_closed(verdict))
        return good

    @guarded(lambda self, turn, answer, calls: calls)
    def _final_calls(self, turn: ToolTurn, answer: str, calls: list[Any]) -> list[Any]:
        """The page's last reading of a reply: broken calls go to `execute_tool` too, which refuses them."""
        if self._services.mode() is LockMode.OFF:
            return calls
        if turn.exhausted:
            return []
        calls = turn.reread(answer, calls) if calls else turn.repaired_calls(answer)
        if not calls:
            for attempt in turn.broken_attempts(answer):
                function = {"name": attempt.name or BROKEN_NAME, "arguments": attempt.arguments}
                calls.append({"type": "function", "function": function})
        return calls

    def executing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """In the place of `execute_tool`."""

        @functools.wraps(original)
        def execute_tool(func_name: str, arguments: Any, executors: Any) -> Any:  # noqa: ANN401 - the host's
            refusal, clean = self._admit(func_name, arguments)
            if refusal is not None:
                return refusal
            result = original(func_name, clean, executors)
            self._note_result(result)
            return result

        return execute_tool

    @guarded(lambda self, result: None)
    def _note_result(self, result: object) -> None:
        turn = current_turn()
        if turn is not None:
            turn.note_result(result)

    @guarded(_unchecked)
    def _admit(self, name: str, arguments: object) -> tuple[str | None, object]:
        """(None, arguments) for a call that may run, else (the message for the model, None)."""
        if self._services.mode() is LockMode.OFF:
            return None, arguments
        turn = current_turn() or self._stray
        if turn is None:
            return _UNCHECKED, None
        verdict = turn.check(name, arguments)
        if verdict.valid:
            turn.passed(verdict, executed=True)
            return None, verdict.arguments
        message = turn.refuse(verdict, arguments)
        if turn.exhausted:
            report(turn.final_sentence(verdict), f"refused:{turn.chat}:{name}")
        return message, None
