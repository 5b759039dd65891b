"""The hooks that the host calls, by its names; each gives back the host's value whatever happens.

`guarded` is the one place that catches every exception: a fault here must not end a chat turn.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from exllama_guard.core.faults import FaultLog
from exllama_guard.core.snippets import Snippet
from exllama_guard.errors import GuardError
from exllama_guard.host.acting.lines import VisibleLines, strip_sent_lines
from exllama_guard.host.turn.notes import TurnNotes
from exllama_guard.host.turn.question import question_of_prompt, with_stripped_blocks
from exllama_guard.host.webui import is_switched_on
from exllama_guard.sources.marked_block import OPENING, find_blocks, format_block

if TYPE_CHECKING:
    from exllama_guard.monitor import Monitor

__all__ = [
    "chat_input_modifier",
    "guarded",
    "history_modifier",
    "input_modifier",
    "lines",
    "notes",
    "output_modifier",
    "state_modifier",
    "use_monitor",
]

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

notes = TurnNotes()
lines = VisibleLines()
_faults = FaultLog()

_monitor: Monitor | None = None
_problems_before: list[tuple[str | None, str]] = []  # found before there was a monitor to show them
_lock = threading.Lock()  # protects the two names above


def use_monitor(monitor: Monitor | None) -> None:
    """Says which monitor the hooks report to; None makes every hook give back its value untouched."""
    global _monitor  # one a process: the host re-imports script.py, this package stays
    with _lock:
        _monitor = monitor
        _faults.forget()
        waiting = list(_problems_before) if monitor is not None else []
        _problems_before.clear()
    for sentence, key in waiting:
        if monitor is not None:
            monitor.report_problem(sentence, key)


def report(sentence: str | None, key: str) -> None:
    """Shows a sentence in the panel, once there is one; None takes back what `key` told."""
    monitor = _monitor
    if monitor is not None:
        monitor.report_problem(sentence, key)
    else:
        with _lock:
            _problems_before.append((sentence, key))


def guarded(instead: Callable[..., Any]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator: where the function raises, the result is `instead` of the same arguments.

    What went wrong is shown in the panel; a fault of ours is also logged with its traceback, once.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def safe(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                with suppress(Exception):  # what cannot even be told must not end a turn either
                    _tell(function.__name__, error)
                value: T = instead(*args, **kwargs)
                return value

        return safe

    return decorate


def _tell(where: str, error: Exception) -> None:
    if isinstance(error, GuardError):
        report(str(error), f"{where}: {error}")
        return
    fault = _faults.note(
        error,
        f"A fault in the guardrails ({where}: {type(error).__name__}: {error}). The chat is not affected; "
        "please report it with the lines that the log has on it.",
    )
    if fault.is_new:
        log.error("a fault in %s; the chat goes on", where, exc_info=error)
    report(fault.sentence, fault.key)


def _active() -> Monitor | None:
    """The monitor while the extension is switched on and ticked, else None."""
    monitor = _monitor
    return monitor if monitor is not None and monitor.enabled and is_switched_on() else None


# --- hooks, with the names and parameters that the host inspects ----------------------------------------


@guarded(lambda history: history)
def history_modifier(history: dict[str, Any]) -> dict[str, Any]:
    """The same history; marked blocks of earlier turns are taken out so that they do not pile up."""
    if _active() is not None:
        strip_sent_lines(history)
        notes.saw_history(history)
        with_stripped_blocks(history)
    return history


@guarded(lambda state: state)
def state_modifier(state: dict[str, Any]) -> dict[str, Any]:
    """The same state, untouched."""
    if _active() is not None:
        notes.saw_state(state)
    return state


@guarded(lambda text, visible_text, state: (text, visible_text))
def chat_input_modifier(text: str, visible_text: str, state: dict[str, Any]) -> tuple[str, str]:
    """The same texts; with a knowledge folder set, the internal text follows its best passages."""
    monitor = _active()
    if monitor is None:
        return text, visible_text
    note = notes.of(state)
    note.question = text
    note.knowledge = _knowledge(monitor, text, text)
    return _with_block(note.knowledge, text), visible_text


@guarded(lambda text, state, is_chat=False: text)
def input_modifier(text: str, state: dict[str, Any], is_chat: bool = False) -> str:
    """The same text; for a completion, with a knowledge folder set, it follows the best passages."""
    monitor = _active()
    if monitor is None or is_chat or not monitor.settings.knowledge_folder:
        return text
    note = notes.of(state)
    note.knowledge = _knowledge(monitor, question_of_prompt(text), text)
    return _with_block(note.knowledge, text)


@guarded(lambda text, state, is_chat=False: text)
def output_modifier(text: str, state: dict[str, Any], is_chat: bool = False) -> str:
    """The same text, on the page with the line that the setting asks for under this verdict.

    Replies are observed where they are generated: this hook misses some of them.
    """
    return lines.shown(text, state) if is_chat else text


# --- the knowledge folder -------------------------------------------------------------------------------


def _with_block(snippets: tuple[Snippet, ...], text: str) -> str:
    return f"{format_block(snippets, short=True)}\n\n{text}" if snippets else text


def _nothing(monitor: Monitor, question: str, text: str) -> tuple[Snippet, ...]:
    return ()


@guarded(_nothing)
def _knowledge(monitor: Monitor, question: str, text: str) -> tuple[Snippet, ...]:
    """The knowledge folder's best passages; none where no folder is set or its index is not ready.

    None, too, where the text of the question brings snippets in a block: who put them there has retrieved
    already, and two lists would number their passages alike.
    """
    if not monitor.settings.knowledge_folder or not question.strip():
        return ()
    if OPENING in text and find_blocks(text):
        return ()
    retriever = monitor.knowledge
    found = retriever.retrieve(question, monitor.settings.knowledge_snippets) if retriever is not None else ()
    if retriever is None or not retriever.index_hash:
        report("The knowledge folder is not indexed yet; this turn goes on without it.", "knowledge folder")
        return ()
    monitor.clear_problem("knowledge folder")
    return found
