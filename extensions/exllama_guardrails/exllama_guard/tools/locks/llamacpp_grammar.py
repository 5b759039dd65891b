"""The calls of a turn as a lazy grammar for llama.cpp's server: text is free until a call starts.

The server converts each schema itself and tells the grammar that it made of it; those grammars are put
together here with the marks of the call format, and the whole is tried before a reply depends on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exllama_guard.errors import SchemaError
from exllama_guard.tools.grammar.closed import close_schema
from exllama_guard.tools.grammar.enforce import HeldSchema
from exllama_guard.tools.grammar.formats import BARE, CallFormat
from exllama_guard.tools.grammar.server_schema import schema_for_server
from exllama_guard.tools.locks.compiled import ANSWER, LockPlan
from exllama_guard.tools.registry import Tool

__all__ = ["Ask", "ServerLock", "lock_for_server", "server_reason"]

# Sends one body to the server's /completion and gives its answer; raises SchemaError where it is refused.
Ask = Callable[[Mapping[str, Any]], Mapping[str, Any]]

# Trigger types of llama.cpp (common.h): a regular expression whose first group is where the grammar begins.
_PATTERN = 2
_BLANKS = "gap ::= [ \\n\\t]{0,8}"
_NAME = re.compile(r"[a-zA-Z0-9-]+")
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|[a-zA-Z][a-zA-Z0-9-]*')
_TAGS = {"tagged JSON": "tool_call", "tagged JSON (function_call)": "function_call"}
_OPENED = r'(?:\{(?:"(?:n(?:a(?:m(?:e"?)?)?)?)?)?)?'  # as far as a token may run on past the tag


@dataclass(frozen=True, slots=True)
class ServerLock:
    """What a request carries. `unenforced` names tools whose calls are checked only, with the reason."""

    fields: Mapping[str, Any]
    unenforced: Mapping[str, str]

    @property
    def holds_all(self) -> bool:
        """Whether whatever is written fits: nothing is left to the check."""
        return not self.unenforced


def lock_for_server(plan: LockPlan, ask: Ask) -> ServerLock:
    """The lock of a plan as fields of a request, tried on the server.

    Raises:
        SchemaError: The server cannot hold a reply to any of it; the message says why.
    """
    if plan.answer_schema is not None:
        answer = schema_for_server(plan.answer_schema)
        left = {ANSWER: _reason(answer)} if answer.reason else {}
        return ServerLock(_tried({"grammar": converted(answer.schema, ask)}, ask), left)
    unenforced: dict[str, str] = {}
    held: list[tuple[Tool, str]] = []
    for tool in plan.tools:
        schema = schema_for_server(_schema_of(tool))
        try:
            grammar = converted(schema.schema, ask)
        except SchemaError as error:
            unenforced[tool.name] = str(error)
            continue
        held.append((tool, grammar))
        if schema.reason:
            unenforced[tool.name] = _reason(schema)
    if not held:
        raise SchemaError("; ".join(unenforced.values()) or "There is no tool to lock.")
    rules = [_BLANKS]
    arguments = {tool.name: _prefixed(text, f"t{i}-", rules) for i, (tool, text) in enumerate(held)}
    if plan.always:
        rules.append(f"root ::= gap ({_objects(arguments)}) gap")
        return ServerLock(_tried({"grammar": "\n".join(rules)}, ask), unenforced)
    return ServerLock(_tried(_lazy(plan.formats, arguments, rules), ask), unenforced)


def converted(schema: Mapping[str, Any], ask: Ask) -> str:
    """The grammar (GBNF) that the server makes of a schema.

    Raises:
        SchemaError: The server cannot convert it, or does not tell its grammar.
    """
    answer = ask({"json_schema": dict(schema)})
    settings = answer.get("generation_settings")
    grammar = settings.get("grammar") if isinstance(settings, Mapping) else None
    if not isinstance(grammar, str) or "root ::=" not in grammar:
        raise SchemaError("This llama.cpp server does not tell the grammar that it makes of a schema.")
    return grammar


def server_reason(tool: Tool) -> str:
    """What of the tool's schema a reply is not held to on llama.cpp, in one sentence; else empty."""
    return _reason(schema_for_server(_schema_of(tool)))


def _schema_of(tool: Tool) -> dict[str, Any]:
    schema = close_schema(tool.parameters)
    schema.setdefault("type", "object")
    return schema


def _reason(held: HeldSchema) -> str:
    return f"llama.cpp: {held.reason}" if held.reason else ""


def _tried(fields: dict[str, Any], ask: Ask) -> dict[str, Any]:
    ask(fields)
    return fields


def _prefixed(grammar: str, prefix: str, rules: list[str]) -> str:
    """Adds a grammar's rules under names of their own; the name of its root."""
    names = {line.partition(" ::= ")[0] for line in grammar.splitlines() if " ::= " in line}

    def renamed(match: re.Match[str]) -> str:
        return prefix + match[0] if match[0] in names and _NAME.fullmatch(match[0]) else match[0]

    rules += [_PIECE.sub(renamed, line) for line in grammar.splitlines() if line.strip()]
    return prefix + "root"


def _objects(arguments: Mapping[str, str]) -> str:
    """`{"name": NAME, "arguments": JSON}` of each tool, as alternatives."""
    key = _quoted(json.dumps("arguments") + ":")
    head = f'"{{" gap {_quoted(json.dumps("name") + ":")} " "?'
    return " | ".join(
        f'{head} {_quoted(json.dumps(name, ensure_ascii=False) + ",")} gap {key} gap {rule} gap "}}"'
        for name, rule in arguments.items()
    )


def _lazy(formats: Sequence[CallFormat], arguments: Mapping[str, str], rules: list[str]) -> dict[str, Any]:
    """The fields of a grammar that waits for a call.

    A pattern starts the grammar only where what stands already fits it: the server fails on a token that ends
    a mark and runs on into what the grammar forbids.

    Raises:
        SchemaError: The model's call formats are not among those written here.
    """
    calls: list[str] = []
    patterns: list[str] = []
    marks: list[str] = []
    for form in formats:
        if form.name in _TAGS:
            opening, closing = f"<{_TAGS[form.name]}>", f"</{_TAGS[form.name]}>"
            calls.append(f"{_quoted(opening)} gap ({_objects(arguments)}) gap {_quoted(closing)}")
            patterns.append(rf"({re.escape(opening)}[ \n\r\t]{{0,8}}{_OPENED})$")
            marks += [opening, closing]
        elif form.name == "Mistral":
            calls += [
                f'"[TOOL_CALLS]" gap {_quoted(name)} "[ARGS]" gap {rule}' for name, rule in arguments.items()
            ]
            patterns.append(r"(\[TOOL_CALLS\][ \n\r\t]{0,8})$")
            marks += ["[TOOL_CALLS]", "[ARGS]"]
        elif form is BARE:
            for name, rule in arguments.items():
                calls.append(f'{_quoted(name)} " "? {rule}')
                patterns.append(rf"(?:^|[^A-Za-z0-9_.])({re.escape(name)} ?\{{)$")
    if not marks:
        names = ", ".join(form.name for form in formats if form is not BARE)
        raise SchemaError(f"Calls in this model's form ({names}) are not locked on llama.cpp, only checked.")
    any_call = " | ".join(calls)
    rules += [f"call ::= {any_call}", "root ::= call (gap call)*"]
    return {
        "grammar": "\n".join(rules),
        "grammar_lazy": True,
        "grammar_triggers": [{"type": _PATTERN, "value": pattern} for pattern in patterns],
        "preserved_tokens": marks,
    }


def _quoted(text: str) -> str:
    """`text` as a literal of the grammar."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
