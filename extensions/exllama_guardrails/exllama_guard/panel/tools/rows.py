"""The tool lock as plain rows for the panel: which chats a visitor may see, their tools, their answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from exllama_guard.core.turns import Reader
from exllama_guard.loaders import promise_on
from exllama_guard.panel.source import ToolSource
from exllama_guard.tools import AnswerOutcome, LockMode, ToolRow, ToolState, may_see

__all__ = ["STATE_TONES", "STATE_WORDS", "AnswerRows", "ChatTools", "ToolTab", "tool_tab"]

_CHATS_SHOWN = 5

STATE_WORDS = {
    ToolState.LOCKED.value: "Locked",
    ToolState.DRIFTED.value: "Changed",
    ToolState.GONE.value: "Not offered now",
    ToolState.UNUSABLE.value: "Unusable",
}
STATE_TONES = {
    ToolState.LOCKED.value: "pass",
    ToolState.DRIFTED.value: "fail",
    ToolState.GONE.value: "none",
    ToolState.UNUSABLE.value: "fail",
}
_OUTCOMES = {
    AnswerOutcome.VALID: ("Valid", "pass", "The last answer fits the schema."),
    AnswerOutcome.REPAIRED: (
        "Repaired",
        "review",
        "The last answer fits after it was cut out or asked again.",
    ),
    AnswerOutcome.CLOSED: (
        "Closed at the limit",
        "review",
        "The last answer fits, but it was closed at its limit of tokens: its last value may be cut.",
    ),
    AnswerOutcome.REFUSED: ("Refused", "fail", "The last answer does not fit the schema."),
}


@dataclass(frozen=True, slots=True)
class ChatTools:
    """The tools of one chat, in the order of first sight."""

    key: str
    title: str
    rows: tuple[ToolRow, ...]


@dataclass(frozen=True, slots=True)
class AnswerRows:
    """How answers under a schema ended: the last one's word, tone and sentence, and all counted."""

    word: str
    tone: str
    sentence: str
    counted: str


@dataclass(frozen=True, slots=True)
class ToolTab:
    """Everything the Tools tab shows; `chats` newest first."""

    promise: str
    chats: tuple[ChatTools, ...]
    answers: AnswerRows | None


def tool_tab(tools: ToolSource | None, reader: Reader, loader: str, mode: str) -> ToolTab:
    """The card of what `reader` may see; without a tool lock, a card without tools."""
    promise = _promise(loader, LockMode(mode))
    if tools is None:
        return ToolTab(promise, (), None)
    keys = [key for key in tools.locks.keys() if may_see(key, reader)]  # noqa: SIM118 - not a mapping
    shown = keys[-_CHATS_SHOWN:]
    # Reading a chat makes it the most recent, so the oldest is read first and the order stays.
    chats = [ChatTools(key, _title(key), tools.rows(key)) for key in shown]
    answered = [key for key in tools.ledger.answered() if may_see(key, reader)]
    outcomes = [outcome for key in answered for outcome in tools.ledger.answers(key)]
    return ToolTab(
        promise=promise,
        chats=tuple(chat for chat in reversed(chats) if chat.rows),
        answers=_answers(outcomes),
    )


def _promise(loader: str, mode: LockMode) -> str:
    if not loader:
        return "No model is loaded; what its loader can enforce is told once one is."
    promise = promise_on(loader, mode)
    return f"With {loader}, calls are {promise.text}." + (f" {promise.reason}" if promise.reason else "")


def _title(key: str) -> str:
    place, _, rest = key.partition(":")
    if place == "page":
        return f"Chat {rest.rpartition(':')[2]}".rstrip() if rest.rpartition(":")[2] else "Chat on this page"
    if place == "api":
        return f"API chat {rest[:8]}".rstrip()
    return "Tools seen outside a known reply"


def _answers(outcomes: Sequence[AnswerOutcome]) -> AnswerRows | None:
    if not outcomes:
        return None
    counts = Counter(outcomes)
    counted = ", ".join(f"{counts[kind]} {kind.value}" for kind in AnswerOutcome)
    return AnswerRows(*_OUTCOMES[outcomes[-1]], counted)
