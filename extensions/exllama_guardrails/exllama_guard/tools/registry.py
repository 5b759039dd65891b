"""A tool as it was first seen, its hash, and what changed since: the lock's values, one registry a chat."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from exllama_guard.tools.grammar.dialect import read_schema
from exllama_guard.tools.strict_json import MAX_DEPTH, canonical_json, canonical_sha256

__all__ = [
    "Tool",
    "ToolChange",
    "ToolLock",
    "ToolLocks",
    "ToolState",
    "ToolStatus",
    "tool_changes",
    "tool_from_openai",
]

# A chat's locks are a few kB; the host keeps far fewer chats open.
MAX_CHATS = 500
# The largest schema that is read, in characters of canonical JSON.
MAX_SCHEMA_CHARS = 4_000_000


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: what the model is told about it. `problem` says why its definition cannot be used.

    `parameters` is the schema as it is used: dialects are read as JSON Schema, and `readings` says what was
    read; `parameters_json` and the hash are of what was offered.
    """

    name: str
    description: str
    parameters_json: str  # canonical JSON of the parameters' schema
    sha256: str  # 64 hex digits over name, description and parameters
    parameters: Mapping[str, Any] = field(compare=False, hash=False, repr=False)
    problem: str = ""
    readings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolChange:
    """One difference: where (JSON pointer into the tool), the locked value and the new one."""

    path: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path}: {self.before or '(absent)'} → {self.after or '(absent)'}"


class ToolState(str, Enum):
    """Whether a tool may be called in this chat."""

    LOCKED = "locked"
    DRIFTED = "drifted"
    GONE = "gone"
    UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True)
class ToolStatus:
    """A tool's standing in one chat; only LOCKED may be called."""

    tool: Tool  # the locked definition
    state: ToolState
    offered: Tool | None = None  # the definition that waits to be accepted
    changes: tuple[ToolChange, ...] = ()
    late: bool = False  # it first appeared after the chat's first turn
    reason: str = ""


def tool_from_openai(definition: object) -> Tool:
    """The tool of one OpenAI-form definition; an unusable one carries its `problem`, nothing raises.

    Both `{"type": "function", "function": {...}}` and the bare inner object are read, also with MCP's
    `inputSchema`. A tool without parameters takes none.
    """
    outer = definition if isinstance(definition, Mapping) else {}
    inner = outer.get("function", outer)
    inner = inner if isinstance(inner, Mapping) else {}
    name, description = inner.get("name"), inner.get("description") or ""
    parameters = inner.get("parameters", inner.get("inputSchema"))
    if parameters is None:
        parameters = {"type": "object", "properties": {}}
    problem = _problem(name, parameters)
    name, description = str(name or ""), str(description)
    if problem:
        text, digest = "{}", canonical_sha256([name, description, repr(definition)])
        return Tool(name, description, text, digest, {}, problem)
    read = read_schema(parameters)
    text = canonical_json(parameters)
    digest = canonical_sha256([name, description, parameters])
    return Tool(name, description, text, digest, read.schema, "", read.readings)


def tool_changes(before: Tool, after: Tool) -> tuple[ToolChange, ...]:
    """Every difference between two definitions of a tool, in document order; empty when they are equal."""
    if before.sha256 == after.sha256:
        return ()
    changes: list[ToolChange] = []
    _compare("/name", before.name, after.name, changes)
    _compare("/description", before.description, after.description, changes)
    _compare("/parameters", before.parameters, after.parameters, changes)
    if before.problem != after.problem:
        changes.append(ToolChange("/", before.problem or "usable", after.problem or "usable"))
    return tuple(changes) or (ToolChange("/", before.sha256, after.sha256),)


class ToolLock:
    """The tools of one chat, locked when first seen. Thread-safe: its lock guards the three tables."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locked: dict[str, Tool] = {}
        self._offered: dict[str, Tool] = {}
        self._late: set[str] = set()
        self._present: tuple[str, ...] = ()
        self._turns = 0

    def observe(self, tools: Iterable[Tool]) -> tuple[ToolStatus, ...]:
        """Standing of each tool of this turn, then of the locked ones that are absent.

        The first definition seen under a name is the lock. A new name that carries the description and
        parameters of a tool that has vanished is that tool renamed, and must be accepted like any change.
        Two tools of one name in one turn: the second is drift.
        """
        with self._guard:
            seen: dict[str, Tool] = {}
            clashes: dict[str, Tool] = {}
            for tool in tools:
                if tool.name not in seen:
                    seen[tool.name] = tool
                elif seen[tool.name].sha256 != tool.sha256:
                    clashes[tool.name] = tool
            self._present = tuple(seen)
            for tool in (*seen.values(), *clashes.values()):
                self._observe_one(tool.name, tool, seen)
            self._turns += 1
            return self._statuses()

    def accept(self, name: str) -> bool:
        """Locks the changed definition of `name`; False when nothing waits under that name."""
        with self._guard:
            offered = self._offered.pop(name, None)
            if offered is None:
                return False
            self._locked[offered.name] = offered
            return True

    def statuses(self) -> tuple[ToolStatus, ...]:
        """Standing of every tool seen in this chat, in the order of first sight."""
        with self._guard:
            return self._statuses()

    def status(self, name: str) -> ToolStatus | None:
        """Standing of one tool, or None when this chat has not seen the name."""
        return next((status for status in self.statuses() if status.tool.name == name), None)

    def _observe_one(self, name: str, tool: Tool, seen: Mapping[str, Tool]) -> None:
        locked = self._locked.get(name)
        if locked is None:
            waiting = self._offered.get(name)
            former = self._renamed_from(tool, seen) if waiting is None else waiting
            if former is not None:
                self._offered[name] = tool
                return
            self._locked[name] = tool
            if self._turns:
                self._late.add(name)
        elif locked.sha256 != tool.sha256:
            self._offered[name] = tool
        else:
            self._offered.pop(name, None)

    def _renamed_from(self, tool: Tool, seen: Mapping[str, Tool]) -> Tool | None:
        for name, locked in self._locked.items():
            same = (locked.description, locked.parameters_json) == (tool.description, tool.parameters_json)
            if same and name not in seen and tool.description:
                return locked
        return None

    def _statuses(self) -> tuple[ToolStatus, ...]:
        out = [self._status_of(name, tool) for name, tool in self._locked.items()]
        for name, tool in self._offered.items():
            if name not in self._locked:
                former = self._renamed_from(tool, {name: tool})
                changes = tool_changes(former, tool) if former else (ToolChange("/name", "", name),)
                out.append(
                    ToolStatus(
                        tool, ToolState.DRIFTED, tool, changes, True, "It is a known tool under a new name."
                    )
                )
        return tuple(out)

    def _status_of(self, name: str, tool: Tool) -> ToolStatus:
        late = name in self._late
        offered = self._offered.get(name)
        if offered is not None:
            return ToolStatus(
                tool,
                ToolState.DRIFTED,
                offered,
                tool_changes(tool, offered),
                late,
                "It changed after it was locked; accept the change in the panel, or undo it.",
            )
        if tool.problem:
            return ToolStatus(tool, ToolState.UNUSABLE, None, (), late, tool.problem)
        if name not in self._present:
            return ToolStatus(tool, ToolState.GONE, None, (), late, "This turn does not offer it.")
        return ToolStatus(tool, ToolState.LOCKED, None, (), late)


class ToolLocks:
    """The locks of all chats by key; the least recently used are forgotten past MAX_CHATS. Thread-safe."""

    def __init__(self, max_chats: int = MAX_CHATS) -> None:
        self._guard = threading.Lock()
        self._max_chats = max_chats
        self._chats: OrderedDict[str, ToolLock] = OrderedDict()

    def chat(self, key: str) -> ToolLock:
        """The lock of one chat, made on first use."""
        with self._guard:
            lock = self._chats.pop(key, None) or ToolLock()
            self._chats[key] = lock
            while len(self._chats) > self._max_chats:
                self._chats.popitem(last=False)
            return lock

    def forget(self, key: str) -> None:
        """Drops one chat's lock."""
        with self._guard:
            self._chats.pop(key, None)

    def keys(self) -> tuple[str, ...]:
        """Keys of the chats that hold a lock, least recently used first."""
        with self._guard:
            return tuple(self._chats)


def _problem(name: object, parameters: object) -> str:
    """Why a definition cannot be used, or an empty string."""
    if not isinstance(name, str) or not name.strip():
        return "The tool has no name; give it one."
    if len(name) > 256:
        return f"The tool's name has {len(name)} characters; 256 are allowed."
    if not isinstance(parameters, Mapping):
        return f"The tool's parameters must be a JSON Schema object, not {type(parameters).__name__}."
    if _depth(parameters, MAX_DEPTH) > MAX_DEPTH:
        return f"The tool's schema nests deeper than {MAX_DEPTH} levels; flatten it or use $defs."
    try:
        size = len(canonical_json(parameters))
    except (TypeError, ValueError) as error:
        return f"The tool's schema is not JSON: {error}."
    if size > MAX_SCHEMA_CHARS:
        return f"The tool's schema has {size} characters; {MAX_SCHEMA_CHARS} are allowed."
    return ""


def _depth(value: object, limit: int) -> int:
    """Nesting of a JSON value, counted up to one past `limit` (so a cycle ends too)."""
    level: list[object] = [value]
    depth = 0
    while level and depth <= limit:
        parts = [list(item.values()) if isinstance(item, Mapping) else item for item in level]
        level = [
            p for part in parts if isinstance(part, list) for p in part if isinstance(p, (Mapping, list))
        ]
        depth += 1
    return depth


def _compare(path: str, before: object, after: object, changes: list[ToolChange]) -> None:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            step = f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}"
            _compare(step, before.get(key, _ABSENT), after.get(key, _ABSENT), changes)
    elif _text(before) != _text(after):
        changes.append(ToolChange(path, _text(before), _text(after)))


_ABSENT = object()


def _text(value: object) -> str:
    return "" if value is _ABSENT else canonical_json(value)
