"""Stands between the model and the tools: the page's, the API's and those of MCP servers.

The host parses a call, checks its name and runs it; here it is first checked against the tool's schema.
A reply is followed through a context variable, set around each step of the host's own generators, because the
steps of one reply run on different threads.
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from exllama_guard.core.tool_promise import LockMode, Promise, promise_on
from exllama_guard.core.tool_rows import ToolLedger, ToolRow
from exllama_guard.core.tool_schema import ToolLocks, ToolStatus
from exllama_guard.host import tool_api
from exllama_guard.host.hooks import guarded, report
from exllama_guard.host.patches import Patches
from exllama_guard.host.reader import current_identity
from exllama_guard.host.tool_constrain import Constrainer, model_key, vocabulary_loader
from exllama_guard.host.tool_turn import BROKEN_NAME, Services, ToolTurn
from exllama_guard.host.webui import is_switched_on, shared_module
from exllama_guard.locks.cache import LockCache, Outcome
from exllama_guard.locks.compiled import LockPlan, plan_answer, plan_calls
from exllama_guard.settings import Settings

__all__ = ["ToolGuard", "get_tool_guard", "logits_processor_modifier", "uninstall_tool_guard"]

# A reply waits this long for its grammar, compiled while the prompt is built; then it is only checked.
_WAIT_S = 3.0
_TOKENIZER_AFTER_S = 3.0

_current: ContextVar[ToolTurn | None] = ContextVar("exllama_guard_tool_turn", default=None)


_UNCHECKED = json.dumps({"error": "This call could not be checked, so it was not run."})


def _no_turn(self: ToolGuard, body: Mapping[str, Any]) -> ToolTurn | None:
    return None


def _unchecked(self: ToolGuard, name: str, arguments: object) -> tuple[str | None, object]:
    return _UNCHECKED, None


class ToolGuard:
    """The tool lock of one process. `install` may be called again; `uninstall` puts everything back."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self.locks = ToolLocks()
        self.ledger = ToolLedger()
        self.cache = LockCache()
        self._patches = Patches()
        self._constrainer = Constrainer(_current.get, self._patches)
        self._unenforced: dict[str, str] = {}  # by the tool's hash: why it is checked only
        self._stray: ToolTurn | None = None  # for tools loaded outside a reply that is known
        self._services = Services(self.locks, self.ledger, self.mode, self._keeps_text, report)

    # --- for the panel ---------------------------------------------------------------------------------

    def mode(self) -> LockMode:
        """The setting `tool_lock`, off while the extension is switched off or not ticked."""
        settings = self._settings()
        return LockMode(settings.tool_lock) if settings.enabled and is_switched_on() else LockMode.OFF

    def _keeps_text(self) -> bool:
        return self._settings().trace_text

    def rows(self, chat: str) -> tuple[ToolRow, ...]:
        """The table of a chat's tools."""
        return self.ledger.rows(chat, self.locks.chat(chat).statuses(), self._promise)

    def accept(self, chat: str, name: str) -> bool:
        """Locks a changed tool's new definition; False when none waits."""
        return self.locks.chat(chat).accept(name)

    def schema_problem(self, text: str) -> str:
        """Why a pasted JSON Schema for answers cannot be used; empty where it can."""
        return tool_api.answer_schema({}, text)[1]

    @guarded(lambda self: None)
    def model_changed(self) -> None:
        """Drops compiled grammars; the new model's vocabulary is read a little later, in the background.

        The host assigns the tokenizer after the model (host 4.7.3, `load_model`), so not at once.
        """
        self.cache.drop()
        self._unenforced.clear()
        if self.mode().enforces:
            timer = threading.Timer(_TOKENIZER_AFTER_S, self._read_vocabulary)
            timer.daemon = True
            timer.start()

    @guarded(lambda self: None)
    def _read_vocabulary(self) -> None:
        shared = shared_module()
        load = vocabulary_loader(shared) if getattr(shared, "model", None) is not None else None
        if load is not None:
            self.cache.prepare(model_key(shared), load)

    # --- installing ------------------------------------------------------------------------------------

    def install(self) -> None:
        """Wraps the host's loading, parsing and running of tools; what is wrapped already stays."""
        self._install_api()  # first: it binds the chat's and the parser's functions by name
        chat = _module("modules.chat")
        if chat is not None and hasattr(chat, "generate_chat_reply_wrapper"):
            self._patches.replace(chat, "generate_chat_reply_wrapper", self._page)
        if chat is not None and hasattr(chat, "generate_chat_reply"):
            self._patches.replace(chat, "generate_chat_reply", self._reply)
        tools = _module("modules.tool_use")
        if tools is not None:
            for name in ("load_tools", "load_mcp_tools"):
                self._patches.replace(tools, name, self._loading)
            self._patches.replace(tools, "execute_tool", self._executing)
        parsing = _module("modules.tool_parsing")
        if parsing is not None:
            self._patches.replace(parsing, "parse_tool_call", self._parsing)

    def uninstall(self) -> tuple[str, ...]:
        """Puts the host back; names of what stays, because another extension wrapped it since."""
        self.cache.close()
        return self._patches.undo()

    def _install_api(self) -> None:
        """Wraps the API where it runs; its request class learns `response_format` before routes are made."""
        args = getattr(shared_module(), "args", None)
        if not (getattr(args, "api", False) or getattr(args, "public_api", False)):
            return
        typing = _module("modules.api.typing")
        if typing is not None and "modules.api.script" not in sys.modules:
            widen: Any = tool_api.with_response_format
            self._patches.replace(typing, "ChatCompletionRequest", widen)
        completions = _module("modules.api.completions")
        if completions is None:
            return
        for name, wrap in (
            ("chat_completions_common", self._api),
            ("generate_chat_reply", self._reply),
            ("parse_tool_call", self._parsing),
        ):
            if hasattr(completions, name):  # the embedded default's small API has not all of them
                self._patches.replace(completions, name, wrap)

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

    @guarded(_no_turn)
    def _api_turn(self, body: Mapping[str, Any]) -> ToolTurn | None:
        """The turn of a request that has tools or asks for an answer under a schema; None for the others."""
        schema, problem = tool_api.answer_schema(body, self._settings().answer_schema)
        if problem:
            report(problem, problem)
        if self.mode() is LockMode.OFF or not (body.get("tools") or schema is not None):
            return None
        key = tool_api.chat_key(body)
        if tool_api.is_new_chat(body):
            self.locks.forget(key)
        turn = ToolTurn(self._services, key)
        turn.answer_schema = None if body.get("tools") else schema
        turn.always = body.get("tool_choice") == "required" or isinstance(body.get("tool_choice"), dict)
        return turn

    def _reply(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def generate_chat_reply(*args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: ANN401
            turn = _current.get()
            if turn is not None:
                self._prepare(turn, _argument(original, "state", args, kwargs))
            for history in original(*args, **kwargs):
                if turn is not None:
                    turn.last_answer = _last(history)
                yield history
                if turn is not None and turn.is_api and turn.refused:
                    return  # the host would let the model write on after a call that was refused

        return generate_chat_reply

    @guarded(lambda self, turn, state: None)
    def _prepare(self, turn: ToolTurn, state: object) -> None:
        """Locks this turn's tools, keeps changed ones from the model, and starts to compile."""
        turn.plan = turn.outcome = turn.processor = None
        if not isinstance(state, dict) or self.mode() is LockMode.OFF:
            return
        turn.template = str(
            state.get("instruction_template_str" if state.get("mode") == "instruct" else "chat_template_str")
            or ""
        )
        if state.get("tools"):
            state["tools"] = turn.observe(state["tools"])
        elif turn.answer_schema is None and not turn.statuses:
            turn.answer_schema = self._pasted_schema()
        turn.plan = self._plan(turn)
        shared = shared_module()
        if turn.plan is None or getattr(shared, "model", None) is None:
            return
        self._constrainer.meet(shared.model)
        load = vocabulary_loader(shared)
        if load is not None:
            self.cache.start(turn.plan, model_key(shared), load)
            if type(shared.model).__name__ in ("Exllamav3Model", "Exllamav2Model"):
                self._compiled(turn)

    def _plan(self, turn: ToolTurn) -> LockPlan | None:
        mode = self.mode()
        if turn.answer_schema is not None and mode is not LockMode.OFF:
            return plan_answer(turn.answer_schema, turn.template) if mode.enforces else None
        tools = turn.callable_tools()
        if not mode.enforces or not tools or turn.exhausted:
            return None
        always = mode is LockMode.ENFORCE_ALWAYS or turn.always
        return plan_calls(tools, turn.template, always=always)

    def _pasted_schema(self) -> Mapping[str, Any] | None:
        schema, problem = tool_api.answer_schema({}, self._settings().answer_schema)
        if problem:
            report(problem, problem)
        return schema

    def _compiled(self, turn: ToolTurn) -> Outcome | None:
        """The turn's compiled lock; waits for it, and says in the panel why there is none."""
        if turn.plan is None:
            return None
        if turn.outcome is None:
            shared = shared_module()
            load = vocabulary_loader(shared)
            if load is None:
                return None
            turn.outcome = self.cache.get(turn.plan, model_key(shared), load, timeout_s=_WAIT_S)
            reasons = turn.outcome.lock.unenforced if turn.outcome.lock is not None else {}
            for tool in turn.plan.tools:
                reason = reasons.get(tool.name, turn.outcome.reason)
                self._unenforced[tool.sha256] = reason
                if reason:
                    report(f"The tool '{tool.name}' is checked only: {reason}", f"unenforced:{tool.sha256}")
            if turn.outcome.reason:
                report(f"Not enforced while decoding: {turn.outcome.reason}", turn.outcome.reason)
        return turn.outcome

    # --- the host's own functions ----------------------------------------------------------------------

    @guarded(lambda self, processors, input_ids: None)
    def add_processor(self, processors: list[Any], input_ids: object) -> None:
        """The logits hook: adds the lock of the reply that starts now (Transformers and the _HF loaders)."""
        from exllama_guard.locks.transformers_processor import LockProcessor

        turn = _current.get()
        outcome = self._compiled(turn) if turn is not None else None
        if turn is not None and outcome is not None and outcome.lock is not None:
            turn.processor = LockProcessor(outcome.lock)
            processors.append(turn.processor)

    def _loading(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def load(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the host's signature
            definitions, executors = original(*args, **kwargs)
            if _current.get() is None:
                self._note_stray(definitions)
            return definitions, executors

        return load

    @guarded(lambda self, definitions: None)
    def _note_stray(self, definitions: list[Any]) -> None:
        if self._stray is None:
            self._stray = ToolTurn(self._services, "unknown reply")
        self._stray.observe(definitions)

    def _parsing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def parse_tool_call(
            answer: str,
            tool_names: list[str],
            return_prefix: bool = False,
            *args: Any,  # noqa: ANN401 - the host's
            **kwargs: Any,  # noqa: ANN401 - the host's
        ) -> Any:  # noqa: ANN401 - the host's signature
            calls = original(answer, tool_names, return_prefix, *args, **kwargs)
            turn = _current.get()
            if turn is None:
                return calls
            if return_prefix:
                found, prefix = calls
                return self._final_calls(turn, answer, found), prefix
            return self._seen_calls(turn, answer, calls)

        return parse_tool_call

    @guarded(lambda self, turn, answer, calls: calls)
    def _seen_calls(self, turn: ToolTurn, answer: str, calls: list[Any]) -> list[Any]:
        """While a reply grows: on the page whatever the host sees; for the API only valid calls."""
        if self.mode() is LockMode.OFF:
            return calls
        if turn.exhausted or not calls:
            return []
        calls = turn.reread(answer, calls)
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
                turn.note_refused(verdict, arguments)
        return good

    @guarded(lambda self, turn, answer, calls: calls)
    def _final_calls(self, turn: ToolTurn, answer: str, calls: list[Any]) -> list[Any]:
        """The page's last reading of a reply: broken calls go to `execute_tool` too, which refuses them."""
        if self.mode() is LockMode.OFF:
            return calls
        if turn.exhausted:
            return []
        calls = turn.reread(answer, calls or [])
        if not calls:
            for attempt in turn.broken_attempts(answer):
                function = {"name": attempt.name or BROKEN_NAME, "arguments": attempt.arguments}
                calls.append({"type": "function", "function": function})
        return calls

    def _executing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def execute_tool(func_name: str, arguments: Any, executors: Any) -> Any:  # noqa: ANN401 - the host's
            refusal, clean = self._admit(func_name, arguments)
            return refusal if refusal is not None else original(func_name, clean, executors)

        return execute_tool

    @guarded(_unchecked)
    def _admit(self, name: str, arguments: object) -> tuple[str | None, object]:
        """(None, arguments) for a call that may run, else (the message for the model, None)."""
        if self.mode() is LockMode.OFF:
            return None, arguments
        turn = _current.get() or self._stray
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

    def _promise(self, status: ToolStatus) -> Promise:
        args = getattr(shared_module(), "args", None)
        loader = str(getattr(args, "loader", None) or "")
        return promise_on(loader, self.mode(), self._unenforced.get(status.tool.sha256, ""))

    @guarded(lambda self, turn: None)
    def _judge_answer(self, turn: ToolTurn) -> None:
        """Notes how a page's answer under a schema ended."""
        if turn.answer_schema is not None and turn.last_answer:
            outcome, _ = tool_api.judge(turn.last_answer, turn.answer_schema)
            self.ledger.add_answer(turn.chat, outcome)


_guard: ToolGuard | None = None


def get_tool_guard(settings: Callable[[], Settings]) -> ToolGuard:
    """The process's guard, made on first use; later calls give the same one."""
    global _guard  # one a process: the host re-imports script.py, this package stays
    if _guard is None:
        _guard = ToolGuard(settings)
    return _guard


def uninstall_tool_guard() -> tuple[str, ...]:
    """Takes the process's guard out of the host; names of what stays."""
    return _guard.uninstall() if _guard is not None else ()


def logits_processor_modifier(processor_list: list[Any], input_ids: object) -> list[Any]:
    """The host's hook: the processors with the lock of the reply that starts now, if it has one."""
    if _guard is not None:
        _guard.add_processor(processor_list, input_ids)
    return processor_list


def following(turn: ToolTurn, inner: Iterator[Any]) -> Iterator[Any]:
    """`inner`, each step of which runs with `turn` as the current one."""
    try:
        while True:
            token = _current.set(turn)
            try:
                item = next(inner)
            except StopIteration:
                return
            finally:
                _current.reset(token)
            yield item
    finally:
        token = _current.set(turn)
        try:
            inner.close()  # type: ignore[attr-defined]
        finally:
            _current.reset(token)


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
