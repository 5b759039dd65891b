"""The hooks that the host calls, by its names; each gives back the host's value whatever happens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exllama_guard.core.measures import NotScored, Reason
from exllama_guard.core.ports import Found
from exllama_guard.core.snippets import Snippet
from exllama_guard.host.acting.lines import strip_sent_lines
from exllama_guard.host.guard import guarded, report
from exllama_guard.host.session import Session, session
from exllama_guard.host.turn.question import question_of_prompt, user_texts, with_stripped_blocks
from exllama_guard.host.webui import is_switched_on
from exllama_guard.monitor import Monitor
from exllama_guard.sources import OPENING, find_blocks, format_block

__all__ = [
    "chat_input_modifier",
    "history_modifier",
    "input_modifier",
    "output_modifier",
    "state_modifier",
]


def _active() -> Session | None:
    """The session while the extension is switched on and ticked, else None."""
    now = session()
    return now if now.observing and now.monitor.enabled and is_switched_on() else None


# --- hooks, with the names and parameters that the host inspects ----------------------------------------


@guarded(lambda history: history)
def history_modifier(history: dict[str, Any]) -> dict[str, Any]:
    """The same history; marked blocks of earlier turns are taken out so that they do not pile up."""
    now = _active()
    if now is not None:
        strip_sent_lines(history)
        now.notes.saw_history(history)
        with_stripped_blocks(history)
    return history


@guarded(lambda state: state)
def state_modifier(state: dict[str, Any]) -> dict[str, Any]:
    """The same state, untouched."""
    now = _active()
    if now is not None:
        now.notes.saw_state(state)
    return state


@guarded(lambda text, visible_text, state: (text, visible_text))
def chat_input_modifier(text: str, visible_text: str, state: dict[str, Any]) -> tuple[str, str]:
    """The same texts; with a knowledge folder set, the internal text follows its best passages."""
    now = _active()
    if now is None:
        return text, visible_text
    note = now.notes.of(state)
    note.question = text
    note.knowledge = _knowledge(
        now.monitor, text, text, user_texts(note.history or state.get("history") or {})
    )
    return _with_block(note.knowledge.snippets, text), visible_text


@guarded(lambda text, state, is_chat=False: text)
def input_modifier(text: str, state: dict[str, Any], is_chat: bool = False) -> str:
    """The same text; for a completion, with a knowledge folder set, it follows the best passages."""
    now = _active()
    if now is None or is_chat or not now.monitor.settings.knowledge_folder:
        return text
    note = now.notes.of(state)
    note.knowledge = _knowledge(now.monitor, question_of_prompt(text), text, ())
    return _with_block(note.knowledge.snippets, text)


@guarded(lambda text, state, is_chat=False: text)
def output_modifier(text: str, state: dict[str, Any], is_chat: bool = False) -> str:
    """The same text, on the page with the line that the setting asks for under this verdict.

    Replies are observed where they are generated: this hook misses some of them.
    """
    return session().lines.shown(text, state) if is_chat else text


# --- the knowledge folder -------------------------------------------------------------------------------


def _with_block(snippets: tuple[Snippet, ...], text: str) -> str:
    return f"{format_block(snippets, short=True)}\n\n{text}" if snippets else text


def _nothing(monitor: Monitor, question: str, text: str, earlier: Sequence[str]) -> Found:
    return Found()


@guarded(_nothing)
def _knowledge(monitor: Monitor, question: str, text: str, earlier: Sequence[str]) -> Found:
    """The knowledge folder's passages that bear on the question, or why there are none.

    None, too, where the text of the question brings snippets in a block: who put them there has retrieved
    already, and two lists would number their passages alike.
    """
    if not monitor.settings.knowledge_folder or not question.strip():
        return Found()
    if OPENING in text and find_blocks(text):
        return Found()
    retriever = monitor.knowledge
    count = monitor.settings.knowledge_snippets
    found = retriever.search(question, earlier, count) if retriever is not None else _NOT_READY
    if found.nothing is not None and found.nothing.reason is Reason.INDEXING:
        report("The knowledge folder is not indexed yet; this turn goes on without it.", "knowledge folder")
    else:
        monitor.clear_problem("knowledge folder")
    return found


_NOT_READY = Found(nothing=NotScored(Reason.INDEXING))
