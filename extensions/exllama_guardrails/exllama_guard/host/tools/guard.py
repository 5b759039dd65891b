"""Stands between the model and the tools: the page's, the API's and those of MCP servers.

The host parses a call, checks its name and runs it; here it is first checked against the tool's schema. This
module puts the parts in the host's place: the lock of a reply (tool_reply.py), the gate before a tool
(tool_gate.py), the API's repair rounds (tool_api.py), answers under a schema (tool_answers.py and
tool_repair.py).
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from exllama_guard.host import webui
from exllama_guard.host.guard import guarded, report
from exllama_guard.host.patches import Patches
from exllama_guard.host.tools import api as tool_api
from exllama_guard.host.tools.answers import answer_schema, judge, usable_schema
from exllama_guard.host.tools.gate import ToolGate
from exllama_guard.host.tools.known import known_in_chat
from exllama_guard.host.tools.reply import ReplyLock, current_turn, following
from exllama_guard.host.tools.turn import Asked, Services, ToolTurn, blocked_key
from exllama_guard.host.turn.reader import current_identity
from exllama_guard.settings import Settings
from exllama_guard.tools import AnswerOutcome, LockMode, ToolLedger, ToolLocks, ToolRow

__all__ = ["ToolGuard"]

# The API by version: package, the function that reads calls. 4.7.3, and 3.23, where it is an extension.
_APIS = (("modules.api", "parse_tool_call"), ("extensions.openai", "parseToolCall"))


class ToolGuard:
    """The tool lock of one process. `install` may be called again; `uninstall` puts everything back."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self.locks = ToolLocks()
        self.ledger = ToolLedger()
        self._patches = Patches()
        self._services = Services(
            self.locks, self.ledger, self.mode, self._keeps_text, report, self._blocks_invented
        )
        self._gate = ToolGate(self._services)
        self.reply_lock = ReplyLock(settings, self.mode, self._patches)

    # --- for the panel ---------------------------------------------------------------------------------

    def mode(self) -> LockMode:
        """The setting `tool_lock`, off while the extension is switched off or not ticked."""
        settings = self._settings()
        return LockMode(settings.tool_lock) if settings.enabled and webui.is_switched_on() else LockMode.OFF

    def _keeps_text(self) -> bool:
        return self._settings().trace_text

    def _blocks_invented(self) -> bool:
        return self._settings().invented_arguments == "block"

    def rows(self, chat: str) -> tuple[ToolRow, ...]:
        """The table of a chat's tools."""
        return self.ledger.rows(chat, self.locks.chat(chat).statuses(), self.reply_lock.promise)

    def accept(self, chat: str, name: str) -> bool:
        """Locks a changed tool's new definition; False when none waits."""
        accepted = self.locks.chat(chat).accept(name)
        if accepted:
            report(None, blocked_key(chat, name))
        return accepted

    def check_schema(self, text: str) -> None:
        """Returns where a pasted JSON Schema for answers can be used.

        Raises:
            SchemaError: It cannot.
        """
        answer_schema({}, text)

    def model_changed(self) -> None:
        """Drops what was compiled for the model before."""
        self.reply_lock.model_changed()

    # --- installing ------------------------------------------------------------------------------------

    def install(self) -> None:
        """Wraps the host's loading, parsing and running of tools; what is wrapped already stays."""
        self._install_api()  # first: it binds the chat's and the parser's functions by name
        chat = _module("modules.chat")
        self._wrap(chat, generate_chat_reply_wrapper=self._page, generate_chat_reply=self._reply)
        gate = self._gate
        loads = {"load_tools": gate.loading, "load_mcp_tools": gate.loading}
        self._wrap(_module("modules.tool_use"), **loads, execute_tool=gate.executing)
        self._wrap(_module("modules.tool_parsing"), parse_tool_call=gate.parsing)

    def uninstall(self) -> tuple[str, ...]:
        """Puts the host back; names of what stays, because another extension wrapped it since."""
        self.reply_lock.close()
        return self._patches.undo()

    def _wrap(self, module: Any, **wraps: Callable[..., Any]) -> None:  # noqa: ANN401 - a module, or None
        """Wraps the named functions that `module` has; the embedded default has not all of them."""
        for name, wrap in wraps.items():
            if module is not None and hasattr(module, name):
                self._patches.replace(module, name, wrap)

    def _install_api(self) -> None:
        """Wraps the API where it runs; its request class learns `response_format` before routes are made."""
        args = getattr(webui.shared_module(), "args", None)
        if not (getattr(args, "api", False) or getattr(args, "public_api", False)):
            return
        for package, parser in _APIS:
            if f"{package}.script" not in sys.modules:
                self._wrap(_module(f"{package}.typing"), ChatCompletionRequest=tool_api.with_response_format)
            functions = {"chat_completions_common": self._api, "generate_chat_reply": self._reply}
            self._wrap(_module(f"{package}.completions"), **functions, **{parser: self._gate.parsing})

    # --- following a reply -----------------------------------------------------------------------------

    def _page(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def generate_chat_reply_wrapper(*args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: ANN401 - the host's signature
            turn = self._page_turn(_argument(original, "state", args, kwargs))
            if turn is None:
                yield from original(*args, **kwargs)
                return
            yield from following(turn, original(*args, **kwargs))
            self._judge_answer(turn)

        return generate_chat_reply_wrapper

    @guarded(lambda self, state: None)
    def _page_turn(self, state: object) -> ToolTurn | None:
        return ToolTurn(self._services, _page_key(state))

    def _api(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def chat_completions_common(
            body: dict[str, Any],
            *args: Any,  # noqa: ANN401 - the host's
            **kwargs: Any,  # noqa: ANN401 - the host's
        ) -> Iterator[Any]:
            turn = self._api_turn(body)
            if turn is None or kwargs.get("prompt_only") or (len(args) > 2 and args[2]):
                yield from original(body, *args, **kwargs)
                return
            stream = kwargs.get("stream", args[1] if len(args) > 1 else False)

            def answer(request: dict[str, Any]) -> Iterator[Any]:
                return following(turn, original(request, *args, **kwargs))

            yield from tool_api.with_repairs(turn, body, answer, bool(stream), self.ledger)

        return chat_completions_common

    @guarded(lambda self, body: None)
    def _api_turn(self, body: Mapping[str, Any]) -> ToolTurn | None:
        """The turn of a request that has tools or asks for an answer under a schema; None for the others."""
        schema = usable_schema(body, self._settings().answer_schema)
        if self.mode() is LockMode.OFF or not (body.get("tools") or schema is not None):
            return None
        key = tool_api.chat_key(body)
        if tool_api.is_new_chat(body):
            self.locks.forget(key)
        always = body.get("tool_choice") == "required" or isinstance(body.get("tool_choice"), dict)
        asked = Asked(None if body.get("tools") else schema, always, repairs_itself=True)
        return ToolTurn(self._services, key, asked)

    def _reply(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def generate_chat_reply(*args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: ANN401
            turn, own = self._reply_turn(original, args, kwargs)
            histories = original(*args, **kwargs)
            for history in histories if turn is None or not own else following(turn, histories):
                if turn is not None:
                    self._note_answer(turn, history)
                yield history
                if turn is not None and turn.is_api and turn.refused:
                    return  # the host would let the model write on after a call that was refused
            if turn is not None:
                self.reply_lock.report_broken(turn)
            if turn is not None and own:
                self._judge_answer(turn)

        return generate_chat_reply

    @guarded(lambda self, turn, history: None)
    def _note_answer(self, turn: ToolTurn, history: object) -> None:
        turn.answered(_last(history))

    @guarded(lambda self, original, args, kwargs: (None, False))
    def _reply_turn(
        self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[ToolTurn | None, bool]:
        """(the turn of a reply that starts, prepared; whether it is this reply's own).

        It is, where neither the page nor the WebUI's API started it: the embedded default's API does not.
        """
        state, continued = (_argument(original, name, args, kwargs) for name in ("state", "_continue"))
        turn, own = current_turn(), False
        if turn is None and self.mode() is not LockMode.OFF and self.reply_lock.pasted_schema() is not None:
            text = _argument(original, "text", args, kwargs)
            turn, own = ToolTurn(self._services, tool_api.reply_key(state, text)), True
        if turn is not None:
            turn.begin_reply(begun=bool(continued))
            turn.knows(known_in_chat(_argument(original, "text", args, kwargs), state))
            self.reply_lock.prepare(turn, state)
        return turn, own

    @guarded(lambda self, turn: None)
    def _judge_answer(self, turn: ToolTurn) -> None:
        """Notes how an answer under a schema ended; one that the user stopped is neither good nor bad."""
        if turn.asked.answer_schema is None or not turn.answer.text or webui.stopped():
            return
        judged = judge(turn.answer.text, turn.asked.answer_schema)
        if judged.outcome is AnswerOutcome.VALID:
            self.ledger.add_answer(turn.chat, turn.outcome_that_fits())
            return
        turn.judged(judged.errors)
        report(turn.last_sentence(), f"answer:{turn.chat}")
        self.ledger.add_answer(turn.chat, AnswerOutcome.REFUSED)


def _module(name: str) -> Any:  # noqa: ANN401 - a module, or None
    from importlib import import_module

    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None


@guarded(lambda function, name, args, kwargs: None)
def _argument(
    function: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> object:
    try:
        return inspect.signature(function).bind(*args, **kwargs).arguments.get(name)
    except TypeError:
        return None


def _page_key(state: object) -> str:
    unique = state.get("unique_id") if isinstance(state, dict) else None
    username, session = current_identity()
    return f"page:{username or ''}:{unique or session or ''}"


@guarded(lambda history: "")
def _last(history: object) -> str:
    rows = history.get("internal") if isinstance(history, Mapping) else None
    return str(rows[-1][1]) if rows else ""
