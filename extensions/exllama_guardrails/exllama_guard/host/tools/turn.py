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

__all__ = ["Answer", "Asked", "Refusal", "Reply", "Services", "ToolTurn", "blocked_key"]

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
    checkers: dict[str, Checker | SchemaError] = field(default_factory=dict)  # by the tool's hash

    def checker(self, tool: Tool) -> Checker:
        """The tool's compiled checker, cached by hash.

        Raises:
            SchemaError: Its calls cannot be checked.
        """
        known = self.checkers.get(tool.sha256)
        if known is None:
            if len(self.checkers) > 2000:
                self.checkers.clear()
            try:
                known = tool_checker(tool)
            except SchemaError as error:
                known = error
            self.checkers[tool.sha256] = known
        if isinstance(known, SchemaError):
            raise SchemaError(str(known))
        return known


def blocked_key(chat: str, name: str) -> str:
    """Under which the panel is told that a tool of a chat is blocked."""
    return f"tool:{chat}:{name}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that will not run: what the model wrote and why not."""

    verdict: CallVerdict
    arguments: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What whoever starts a turn asks of it."""

    answer_schema: Mapping[str, Any] | None = None
    always: bool = False  # a call, whatever the model thinks
    repairs_itself: bool = False  # whoever started the turn asks again


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply that is being written, and its lock."""

    begun: bool = False  # it continues an earlier one
    state: Mapping[str, Any] = field(default_factory=dict)  # the host's settings of it
    template: str = ""
    plan: LockPlan | None = None
    outcome: Outcome | None = None
    processor: Any = None  # the lock as the loader has it, where it is in this process
    limit: int | None = None  # most tokens, where the lock was told
    enforced: bool = False  # the loader holds it to the whole of its schema while it writes
    closed_call: tuple[str, str | None] | None = None  # name and arguments' hash

    @property
    def closed(self) -> bool:
        """Whether the lock brought it to its end because its limit was near."""
        return bool(getattr(self.processor, "closed", False))

    def room(self, prompt_tokens: int) -> int | None:
        """Most tokens that it may have after a prompt of so many; None where that is not known."""
        most = self.state.get("max_new_tokens")
        if self.state.get("auto_max_new_tokens"):
            most = int(self.state["truncation_length"]) - prompt_tokens
        return int(most) if most else None


@dataclass(frozen=True, slots=True)
class Answer:
    """The last answer and how it stands under its schema."""

    text: str = ""
    errors: tuple[CallError, ...] = ()
    tries: int = 0  # how often it was asked for again
    cut: bool = False  # its JSON was cut out of other text


class ToolTurn:
    """One turn, over all rounds of its tool loop. Used by one reply, on one thread at a time.

    What others know of it are values (`asked`, `reply`, `answer`, `sources`), which only its methods replace.
    """

    def __init__(self, services: Services, chat: str, asked: Asked = Asked()) -> None:
        self._services = services
        self.chat = chat
        self.is_api = chat.startswith("api:")
        self.asked, self.reply, self.answer = asked, Reply(), Answer()
        self.sources = CallSources("")  # what was known; without the user's words no origin is told
        self.statuses: dict[str, ToolStatus] = {}
        self.refused: list[Refusal] = []
        self.rounds = 0

    @property
    def exhausted(self) -> bool:
        """True when no repair round is left."""
        return self.rounds > MAX_REPAIR_ROUNDS

    # --- the reply and its lock -------------------------------------------------------------------------

    def begin_reply(self, *, begun: bool) -> None:
        """Forgets the reply before; the new one continues an earlier one where it is `begun`."""
        self.reply = Reply(begun=begun)

    def opened(self, state: Mapping[str, Any], template: str) -> None:
        """Takes the host's settings of the reply and the template of its prompt."""
        self.reply = replace(self.reply, state=state, template=template)

    def must_fit(self, schema: Mapping[str, Any] | None) -> None:
        """Takes the schema that answers must fit; None: they are free."""
        self.asked = replace(self.asked, answer_schema=schema)

    def planned(self, plan: LockPlan | None) -> None:
        """Takes what is to be locked."""
        self.reply = replace(self.reply, plan=plan)

    def compiled(self, outcome: Outcome) -> None:
        """Takes the compiled lock, or why there is none."""
        self.reply = replace(self.reply, outcome=outcome)

    def held_by(
        self,
        processor: Any,  # noqa: ANN401 - one of the loaders'
        limit: int | None,
        *,
        whole: bool = True,
    ) -> None:
        """Notes what holds the reply to its lock; None: the loader, in a process of its own.

        Without `whole` the lock leaves a part of the schema to the check: the reply may still miss it.
        """
        self.reply = replace(self.reply, processor=processor, limit=limit, enforced=whole)

    # --- its answer under a schema ----------------------------------------------------------------------

    def answered(self, text: str) -> None:
        """Takes the answer so far."""
        self.answer = replace(self.answer, text=text)

    def judged(self, errors: tuple[CallError, ...]) -> None:
        """Takes what the answer misses of its schema."""
        self.answer = replace(self.answer, errors=errors)

    def asked_again(self, times: int) -> None:
        """Takes how often a better answer was asked for."""
        self.answer = replace(self.answer, tries=times)

    def cut_out(self, text: str) -> None:
        """Takes the JSON that stood inside other text as the answer."""
        self.answer = replace(self.answer, text=text, cut=True)

    # --- tools and calls --------------------------------------------------------------------------------

    def next_round(self) -> None:
        """Counts a round that has to be written again."""
        self.rounds += 1

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
        checker = self._services.checker(status.tool) if status and not self._unusable(status) else None
        known = tuple(tool.name for tool in self.callable_tools())
        verdict = check_call(name, arguments, status, checker, known=known)
        if verdict.valid and self.is_closed(verdict):
            return replace(verdict, errors=(closed_error(self.reply.limit),))
        if verdict.valid and self._services.blocks_invented():
            unsourced = [found for found in self._origins(verdict) if found.origin is Origin.NOWHERE]
            return replace(verdict, errors=tuple(map(unsourced_error, unsourced)))
        return verdict

    def knows(self, sources: CallSources) -> None:
        """Takes what is known when the reply starts: its calls may take their values from it."""
        self.sources = sources

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
        self.next_round()
        return repair_message(verdict, rounds_left=MAX_REPAIR_ROUNDS + 1 - self.rounds)

    @guarded(lambda self: None)
    def begin_round(self) -> None:
        """Forgets the refusals of the round before."""
        self.refused = []
        self.judged(())

    def is_closed(self, verdict: CallVerdict) -> bool:
        """Whether a call was refused because the lock had to close it at the reply's limit."""
        return (verdict.name, verdict.arguments_sha256) == self.reply.closed_call

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
        if not self.answer.errors:
            return "The answer holds valid JSON among other text; ask for the JSON alone."
        first = self.answer.errors[0]
        attempts = self.rounds if self.asked.repairs_itself else self.answer.tries + 1
        return (
            f"The answer did not fit the JSON Schema in {attempts} attempt{'s' if attempts > 1 else ''}: "
            f"expected {first.expected}{' at ' + first.path if first.path else ''}, found {first.found}."
        )

    def outcome_that_fits(self) -> AnswerOutcome:
        """How an answer that fits its schema came about."""
        if self.reply.closed:
            return AnswerOutcome.CLOSED
        mended = self.rounds or self.answer.tries or self.answer.cut
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
        if self.reply.closed and out:
            last = out[-1]["function"]
            name = str(last.get("name"))
            digest = self.check(name, last.get("arguments")).arguments_sha256
            self.reply = replace(self.reply, closed_call=(name, digest))
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
        return self._unusable(status)

    def _unusable(self, status: ToolStatus) -> str:
        """Why calls of the tool cannot be checked; "" where they can."""
        try:
            self._services.checker(status.tool)
        except SchemaError as error:
            return str(error)
        return ""

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
