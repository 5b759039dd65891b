"""What was called, and the rows that a panel shows about it: plain values, no page."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from exllama_guard.core.measures import Measure, NotScored, Reason
from exllama_guard.core.turns import Reader
from exllama_guard.tools.calls import CallVerdict
from exllama_guard.tools.origins import ArgumentOrigin
from exllama_guard.tools.promise import Promise
from exllama_guard.tools.registry import ToolState, ToolStatus

__all__ = ["AnswerOutcome", "CallRecord", "ToolLedger", "ToolRow", "may_see"]

# Calls kept in memory a chat, and chats: the panel shows the last ones.
MAX_CALLS = 200
MAX_CHATS = 500


class AnswerOutcome(str, Enum):
    """How an answer under a schema ended."""

    VALID = "valid"
    REPAIRED = "repaired"
    CLOSED = "closed at the limit"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call: whether it was valid, whether it ran, its arguments' hash and (if allowed) text."""

    name: str
    valid: bool
    executed: bool
    at_s: float  # seconds since the epoch
    arguments_sha256: str | None
    arguments: str | None = None
    violation: str = ""
    codes: tuple[str, ...] = ()  # of the violations, as docs/tools.md names them
    origins: tuple[ArgumentOrigin, ...] = ()  # of the values; empty where the chat was not known


@dataclass(frozen=True, slots=True)
class ToolRow:
    """One line of the panel's table of tools."""

    name: str
    state: str
    sha256: str
    calls: int
    valid_rate: Measure  # [0, 1]
    last_violation: str
    promise: str
    changes: tuple[str, ...] = ()
    note: str = ""
    origins: tuple[str, ...] = ()  # of the last call's values, one line each


def may_see(chat: str, reader: Reader) -> bool:
    """Whether a chat of the tool lock is the reader's own; on a single-user host every chat is."""
    if reader == Reader():
        return True
    place, _, rest = chat.partition(":")
    username, _, session = rest.rpartition(":")
    if place != "page":
        return False
    if reader.username:
        return username == reader.username
    return not username and session == reader.session


class ToolLedger:
    """Calls and answers of each chat, newest kept. Thread-safe: `_guard` protects the tables."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._calls: OrderedDict[str, deque[CallRecord]] = OrderedDict()
        self._answers: OrderedDict[str, deque[AnswerOutcome]] = OrderedDict()

    def add_call(
        self,
        chat: str,
        verdict: CallVerdict,
        *,
        executed: bool,
        arguments: str | None,
        origins: tuple[ArgumentOrigin, ...] = (),
    ) -> CallRecord:
        """Keeps one call and gives its record."""
        first = verdict.errors[0] if verdict.errors else None
        violation = (
            f"{first.path or 'the call'}: expected {first.expected}, found {first.found}" if first else ""
        )
        record = CallRecord(
            verdict.name,
            verdict.valid,
            executed,
            time.time(),
            verdict.arguments_sha256,
            arguments,
            violation,
            tuple(error.code for error in verdict.errors),
            origins,
        )
        with self._guard:
            _of(self._calls, chat).append(record)
        return record

    def add_answer(self, chat: str, outcome: AnswerOutcome) -> None:
        """Keeps how an answer under a schema ended."""
        with self._guard:
            _of(self._answers, chat).append(outcome)

    def calls(self, chat: str) -> tuple[CallRecord, ...]:
        """The chat's calls, oldest first."""
        with self._guard:
            return tuple(self._calls.get(chat, ()))

    def answers(self, chat: str) -> tuple[AnswerOutcome, ...]:
        """How the chat's answers under a schema ended, oldest first."""
        with self._guard:
            return tuple(self._answers.get(chat, ()))

    def called(self) -> tuple[str, ...]:
        """Chats with a call, the least recent first."""
        with self._guard:
            return tuple(self._calls)

    def answered(self) -> tuple[str, ...]:
        """Chats with an answer under a schema, the least recent first."""
        with self._guard:
            return tuple(self._answers)

    def rows(
        self, chat: str, statuses: Iterable[ToolStatus], promise: Callable[[ToolStatus], Promise]
    ) -> tuple[ToolRow, ...]:
        """One row a tool of the chat, in the order of first sight."""
        calls = self.calls(chat)
        rows = []
        for status in statuses:
            own = [record for record in calls if record.name == status.tool.name]
            wrong = [record for record in own if not record.valid]
            rate = (
                (len(own) - len(wrong)) / len(own)
                if own
                else NotScored(Reason.NOT_ENOUGH_DATA, "no call of this tool yet")
            )
            notes = ["appeared in mid-chat"] if status.late else []
            note = "; ".join([*notes, *status.tool.readings])
            rows.append(
                ToolRow(
                    status.tool.name,
                    status.state.value,
                    status.tool.sha256,
                    len(own),
                    rate,
                    wrong[-1].violation if wrong else "",
                    str(promise(status)) if status.state is ToolState.LOCKED else "blocked",
                    tuple(str(change) for change in status.changes),
                    status.reason or note,
                    tuple(map(_traced, own[-1].origins)) if own else (),
                )
            )
        return tuple(rows)


def _traced(found: ArgumentOrigin) -> str:
    return f"{found.path} {found.value}: {found.origin.value}".replace(" :", ":")


def _of(table: OrderedDict[str, deque], chat: str) -> deque:  # type: ignore[type-arg]
    queue = table.pop(chat, None)
    if queue is None:
        queue = deque(maxlen=MAX_CALLS)
    table[chat] = queue
    while len(table) > MAX_CHATS:
        table.popitem(last=False)
    return queue
