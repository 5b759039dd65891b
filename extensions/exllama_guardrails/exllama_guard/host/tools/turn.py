"""One reply and its tools: what is offered, what may be called, how often a call was refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from exllama_guard.errors import SchemaError
from exllama_guard.host.guard import guarded
from exllama_guard.tools import (
    MAX_REPAIR_ROUNDS,
    AnswerOutcome,
    ArgumentOrigin,
    Attempt,
    CallError,
    CallSources,
    CallVerdict,
    Checker,
    LockMode,
    Origin,
    Tool,
    ToolLedger,
    ToolLocks,
    ToolState,
    ToolStatus,
    check_call,
    closed_error,
    compile_checker,
    find_attempts,
    origins_of,
    read_json,
    refusal_text,
    repair_message,
    restore_text,
    tool_checker,
    tool_from_openai,
    unsourced_error,
)
from exllama_guard.tools.locks import LockPlan, Outcome

__all__ = ["Refusal", "Services", "ToolTurn", "blocked_key"]

BROKEN_NAME = "unreadable_call"  # stands for a call that names no tool, so that the host can show it


@dataclass(slots=True)
class Services:
    """What all turns share. `mode` and `keep_text` read the settings of the moment."""

    locks: ToolLocks
    ledger: ToolLedger
    mode: Callable[[], LockMode]
    keep_text: Callable[[], bool]
    report: Callable[[str | None, str], None]  # None takes back what was told under a key
    blocks_invented: Callable[[], bool] = lambda: False  # a call with a value from nowhere does not run
    checkers: dict[str, tuple[Checker | None, str]] = field(default_factory=dict)  # by the tool's hash

    def checker(self, tool: Tool) -> tuple[Checker | None, str]:
        """The tool's compiled checker, or None with the reason; kept by hash."""
        known = self.checkers.get(tool.sha256)
        if known is None:
            if len(self.checkers) > 2000:
                self.checkers.clear()
            known = self.checkers[tool.sha256] = tool_checker(tool)
        return known


def blocked_key(chat: str, name: str) -> str:
    """Under which the panel is told that a tool of a chat is blocked."""
    return f"tool:{chat}:{name}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that will not run: what the model wrote and why not."""

    verdict: CallVerdict
    arguments: str


class ToolTurn:
    """State of one reply, over all turns of its tool loop. Used by one reply, on one thread at a time."""

    def __init__(self, services: Services, chat: str) -> None:
        self._services = services
        self.chat = chat
        self.statuses: dict[str, ToolStatus] = {}
        self.refused: list[Refusal] = []
        self.rounds = 0
        self.last_answer = ""
        self.plan: LockPlan | None = None
        self.outcome: Outcome | None = None
        self.template = ""
        self.processor: Any = None  # the logits processor of the reply that is being written
        self.is_api = chat.startswith("api:")
        self.always = False  # the request asks for a call whatever the model thinks
        self.answer_schema: Mapping[str, Any] | None = None
        self.answer_errors: tuple[CallError, ...] = ()
        self.answer_tries = 0  # how often an answer under a schema was asked for again
        self.answer_cut = False  # its JSON was cut out of other text
        self.repairs_itself = False  # whoever started the turn asks again
        self.begun = False  # the reply continues an earlier one
        self.enforced = False  # the loader holds the reply to the lock while it writes
        self.sources = CallSources("")  # what was known; without the user's words no origin is told
        self.state: Mapping[str, Any] = {}  # the host's settings of the reply
        self.limit: int | None = None  # most tokens of the reply, where the lock was told
        self._closed_call: tuple[str, str | None] | None = None  # name and arguments' hash

    @property
    def exhausted(self) -> bool:
        """True when no repair round is left."""
        return self.rounds > MAX_REPAIR_ROUNDS

    @property
    def closed(self) -> bool:
        """Whether the lock brought the reply to its end because its limit was near."""
        return bool(getattr(self.processor, "closed", False))

    def begin_reply(self) -> None:
        """Forgets the lock of the reply before."""
        self.plan = self.outcome = self.processor = self.limit = self._closed_call = None
        self.enforced = False

    def room(self, prompt_tokens: int) -> int | None:
        """Most tokens that the reply may have after a prompt of so many; None where that is not known."""
        most = self.state.get("max_new_tokens")
        if self.state.get("auto_max_new_tokens"):
            most = int(self.state["truncation_length"]) - prompt_tokens
        self.limit = int(most) if most else None
        return self.limit

    def observe(self, definitions: Sequence[object]) -> list[Any]:
        """The definitions that the model may see: locked ones whose calls can be checked.

        A changed definition is kept from the model until it is accepted: its description may be an attack.
        """
        tools = [tool_from_openai(definition) for definition in definitions]
        lock = self._services.locks.chat(self.chat)
        self.statuses = {status.tool.name: status for status in lock.observe(tools)}
        shown = []
        for definition, tool in zip(definitions, tools, strict=True):
            reason = self._blocked(self.statuses.get(tool.name))
            sentence = f"The tool '{tool.name or '(unnamed)'}' is blocked: {reason}" if reason else None
            self._services.report(sentence, blocked_key(self.chat, tool.name))
            if not reason and not self.exhausted:
                shown.append(definition)
        return shown

    def callable_tools(self) -> tuple[Tool, ...]:
        """Tools that the model may call now."""
        return tuple(status.tool for status in self.statuses.values() if not self._blocked(status))

    def check(self, name: str, arguments: object) -> CallVerdict:
        """The verdict on one call; nothing is recorded."""
        status = self.statuses.get(name)
        if status is None and isinstance(arguments, str):
            read = read_json(arguments)
            if not read.ok:  # more to the point than that no tool has this name
                problem = read.problems[0]
                found = problem.found or problem.code
                return CallVerdict(
                    name, (CallError(problem.code, "", "one strict JSON object", found, problem.message),)
                )
        checker = self._services.checker(status.tool)[0] if status is not None else None
        known = tuple(tool.name for tool in self.callable_tools())
        verdict = check_call(name, arguments, status, checker, known=known)
        if verdict.valid and self.is_closed(verdict):
            return replace(verdict, errors=(closed_error(self.limit),))
        if verdict.valid and self._services.blocks_invented():
            unsourced = [found for found in self._origins(verdict) if found.origin is Origin.NOWHERE]
            return replace(verdict, errors=tuple(map(unsourced_error, unsourced)))
        return verdict

    def note_result(self, result: object) -> None:
        """A tool's result, from which later calls may take their values."""
        text = result if isinstance(result, str) else json.dumps(result, default=str)
        self.sources = replace(self.sources, results=(*self.sources.results, text))

    def _origins(self, verdict: CallVerdict) -> tuple[ArgumentOrigin, ...]:
        """Where each value of a call comes from; empty where the chat is not known."""
        status = self.statuses.get(verdict.name)
        if status is None or not self.sources.user or not isinstance(verdict.arguments, Mapping):
            return ()
        return origins_of(verdict.arguments, status.tool.parameters, self.sources)

    def refuse(self, verdict: CallVerdict, arguments: object) -> str:
        """Records a refused call; gives the message for the model."""
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, default=str)
        self.refused.append(Refusal(verdict, text))
        self._record(verdict, text, executed=False)
        self.rounds += 1
        return repair_message(verdict, rounds_left=MAX_REPAIR_ROUNDS + 1 - self.rounds)

    @guarded(lambda self: None)
    def begin_round(self) -> None:
        """Forgets the refusals of the round before."""
        self.refused = []
        self.answer_errors = ()

    def is_closed(self, verdict: CallVerdict) -> bool:
        """Whether a call was refused because the lock had to close it at the reply's limit."""
        return (verdict.name, verdict.arguments_sha256) == self._closed_call

    def note_refused(self, verdict: CallVerdict, arguments: object, *, goes_on: bool = False) -> None:
        """Records a refused call of this round, once however often it is parsed.

        With `goes_on` the round is not lost by it: the calls before it stand.
        """
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, default=str)
        if all(entry.verdict.name != verdict.name or entry.arguments != text for entry in self.refused):
            self.refused += [] if goes_on else [Refusal(verdict, text)]
            self._record(verdict, text, executed=False)

    def repair_messages(self) -> list[dict[str, Any]]:
        """The refused calls and their faults as messages for the next round."""
        left = MAX_REPAIR_ROUNDS + 1 - self.rounds
        calls, results = [], []
        for index, entry in enumerate(self.refused):
            identity = f"call_refused_{self.rounds}_{index}"
            function = {"name": entry.verdict.name or BROKEN_NAME, "arguments": entry.arguments}
            calls.append({"id": identity, "type": "function", "function": function})
            content = repair_message(entry.verdict, rounds_left=left)
            results.append({"role": "tool", "tool_call_id": identity, "content": content})
        return [{"role": "assistant", "content": "", "tool_calls": calls}, *results]

    def last_sentence(self) -> str:
        """What the user reads when no round is left."""
        if self.refused:
            return self.final_sentence(self.refused[0].verdict)
        if not self.answer_errors:
            return "The answer holds valid JSON among other text; ask for the JSON alone."
        first = self.answer_errors[0]
        attempts = self.rounds if self.repairs_itself else self.answer_tries + 1
        return (
            f"The answer did not fit the JSON Schema in {attempts} attempt{'s' if attempts > 1 else ''}: "
            f"expected {first.expected}{' at ' + first.path if first.path else ''}, found {first.found}."
        )

    def outcome_that_fits(self) -> AnswerOutcome:
        """How an answer that fits its schema came about."""
        if self.closed:
            return AnswerOutcome.CLOSED
        mended = self.rounds or self.answer_tries or self.answer_cut
        return AnswerOutcome.REPAIRED if mended else AnswerOutcome.VALID

    def final_sentence(self, verdict: CallVerdict) -> str:
        """What the user reads about one call that was refused for the last time."""
        return refusal_text(verdict, self.rounds)

    def passed(self, verdict: CallVerdict, *, executed: bool) -> None:
        """Records a valid call."""
        self._record(
            verdict, json.dumps(verdict.arguments, ensure_ascii=False, default=str), executed=executed
        )

    def reread(self, answer: str, calls: Sequence[Any]) -> list[Any]:
        """The host's parsed calls, as the model really wrote them.

        Text that the host turned into numbers is put back; a call whose JSON the host read too kindly
        (duplicate keys, NaN) carries its raw text, so that it is refused.
        """
        attempts = list(find_attempts(answer, tuple(self.statuses)))
        out = []
        for call in calls:
            function = dict(call.get("function", {}))
            name, arguments = function.get("name"), function.get("arguments")
            attempt = next((entry for entry in attempts if entry.name == name), None)
            if attempt is not None:
                attempts.remove(attempt)
                if attempt.broken:
                    function["arguments"] = attempt.arguments
            elif isinstance(arguments, Mapping) and isinstance(name, str):
                function["arguments"] = restore_text(answer, name, arguments, self._fits(name))
            out.append({**call, "function": function})
        if self.closed and out:
            last = out[-1]["function"]
            name = str(last.get("name"))
            self._closed_call = (name, self.check(name, last.get("arguments")).arguments_sha256)
        return out

    def broken_attempts(self, answer: str) -> tuple[Attempt, ...]:
        """Calls in `answer` that the host could not read."""
        known = tuple(self.statuses)
        return tuple(
            entry for entry in find_attempts(answer, known) if entry.broken or entry.name not in known
        )

    def repaired_calls(self, answer: str) -> list[dict[str, Any]]:
        """Calls of known tools in `answer` that the host dropped at a mark inside one of their texts."""
        out = []
        for attempt in find_attempts(answer, tuple(self.statuses)):
            if attempt.repaired and not attempt.broken and attempt.name in self.statuses:
                told = f"A call of the tool '{attempt.name}' was read to its end although {attempt.repaired}."
                self._services.report(told, f"repaired:{self.chat}:{attempt.name}")
                function = {"name": attempt.name, "arguments": read_json(attempt.arguments).value}
                out.append({"type": "function", "function": function})
        return out

    def _blocked(self, status: ToolStatus | None) -> str:
        if status is None:
            return "it is unknown."
        if status.state is not ToolState.LOCKED:
            return status.reason
        return self._services.checker(status.tool)[1]

    def _fits(self, name: str) -> Callable[[str, Any], bool]:
        status = self.statuses.get(name)
        parameters = status.tool.parameters if status else {}
        properties = parameters.get("properties", {})
        home = {key: parameters[key] for key in ("$defs", "definitions", "$schema") if key in parameters}
        checkers: dict[str, Checker | None] = {}

        def fits(key: str, value: Any) -> bool:  # noqa: ANN401 - any JSON value
            if key not in checkers:
                try:
                    part = properties.get(key, True)
                    checkers[key] = compile_checker({**home, **part} if isinstance(part, Mapping) else part)
                except SchemaError:
                    checkers[key] = None
            checker = checkers[key]
            return checker is not None and not checker(value)

        return fits

    def _record(self, verdict: CallVerdict, text: str, *, executed: bool) -> None:
        kept = text if self._services.keep_text() else None
        origins = self._origins(verdict)
        if kept is None:
            origins = tuple(replace(found, value="") for found in origins)
        self._services.ledger.add_call(self.chat, verdict, executed=executed, arguments=kept, origins=origins)
