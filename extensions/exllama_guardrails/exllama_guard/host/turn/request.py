"""What is known of a turn when its reply starts: its question, way, reader, and where its snippets are."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exllama_guard.core.turns import Channel, ModelInfo, TurnRequest
from exllama_guard.grounding import answer_of
from exllama_guard.host import webui
from exllama_guard.host.turn.hand_over import taken_for
from exllama_guard.host.turn.notes import TurnNote, TurnNotes
from exllama_guard.host.turn.question import last_answer, last_user_text, question_of_prompt
from exllama_guard.host.turn.reader import current_identity
from exllama_guard.sources import OPENING, Gathered, without_blocks

if TYPE_CHECKING:
    from exllama_guard.monitor import Monitor

__all__ = ["Opening", "opening_of"]


@dataclass(frozen=True, slots=True)
class Opening:
    """A turn's request, where its snippets are to be found, and the history that the host works on."""

    request: TurnRequest
    gathered: Gathered
    history: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a turn asks, where it was asked, and which kind of turn it is."""

    question: str
    channel: Channel
    answer_prefix: str = ""
    regenerate: bool = False
    tool_turn: bool = False


def _of_chat(note: TurnNote, prompt: str, state: dict[str, Any]) -> _Asked:
    history = state.get("history") or {}
    new = bool(note.question)
    tool_turn = bool(state.get("_tool_turn")) or (not new and _answers_tool(state))
    prefix = "" if new else _continued(prompt, last_answer(history))
    return _Asked(
        _asked(note.question) or last_user_text(note.history or history),
        Channel.CHAT if "unique_id" in state else Channel.API_CHAT,
        prefix,
        regenerate=note.question is None and not prefix and not tool_turn,
        tool_turn=tool_turn,
    )


def _of_prompt(prompt: str) -> _Asked:
    return _Asked(question_of_prompt(prompt), Channel.COMPLETION)


def opening_of(
    monitor: Monitor, notes: TurnNotes, prompt: str, state: dict[str, Any], is_chat: bool
) -> Opening:
    """What is known of the turn of this prompt and state; its note is taken out of `notes`."""
    note = notes.take(state) or TurnNote(state)
    asked = _of_chat(note, prompt, state) if is_chat else _of_prompt(prompt)
    username, session = current_identity()
    chat_id = state.get("unique_id")
    handed = taken_for(chat_id, username, session, shared_host=monitor.multi_user)
    request = TurnRequest(
        turn_id=uuid.uuid4().hex,
        question=asked.question,
        snippets=(),
        prompt=prompt,
        answer_prefix=asked.answer_prefix,
        chat_id=str(chat_id) if chat_id else None,
        reader=monitor.reader_for(username, session),
        channel=asked.channel,
        model=_model(monitor),
        extensions=webui.active_extensions(),
        regenerate=asked.regenerate,
        tool_turn=asked.tool_turn,
        started_at_s=time.time(),
        system_prompt=_system_prompt(state) if is_chat else "",
        nothing=note.knowledge.nothing,
    )
    gathered = Gathered(
        prompt=prompt,
        history=_copied(note.history or state.get("history") or {}),
        question=asked.question,
        handed_over=handed,
        knowledge=note.knowledge.snippets,
        lookup=monitor.knowledge.lookup if monitor.knowledge is not None else _unknown,
        other_texts=tuple(
            text for name in _TEXTS if state.get(name) for text in _written(str(state[name]), state)
        ),
        templates=webui.templates(state),
        look_for_injected=bool(webui.active_text_extensions()),
        user_text=note.question or "",
        continued=asked.answer_prefix,
    )
    return Opening(request, gathered, note.history or {})


def _model(monitor: Monitor) -> ModelInfo | None:
    """The loaded model, with the hashes of its files once they are read."""
    model, known = webui.model_info(), monitor.model
    if model is None or known is None or (model.name, model.loader) != (known.name, known.loader):
        return model
    return known


def _system_prompt(state: Mapping[str, Any]) -> str:
    """What the host puts before a chat: in instruct mode the system message, else the character's text."""
    name = "custom_system_message" if state.get("mode") == "instruct" else "context"
    return str(state.get(name) or "")


def _unknown(text: str) -> None:
    return None


def _written(text: str, state: Mapping[str, Any]) -> tuple[str, str]:
    """A text of the settings as it stands there, and as the host writes it into a prompt."""
    return text, webui.with_names(text, state)


_TEXTS = ("custom_system_message", "context", "user_bio", "greeting")


def _asked(text: str | None) -> str:
    """The user's own words, without marked blocks; a text is read line by line only where it has one."""
    return (without_blocks(text) if text and OPENING in text else text or "").strip()


def _copied(history: Mapping[str, Any]) -> dict[str, Any]:
    """The lists as they stand now: the host replaces rows and adds entries, it does not edit them."""
    return {
        "internal": list(history.get("internal") or ()),
        "metadata": dict(history.get("metadata") or {}),
        "messages": list(history.get("messages") or ()),
    }


def _continued(prompt: str, answer: str) -> str:
    """The answer that the prompt ends with, because it is to be continued; "" where it does not.

    A template may write what was thought before an answer in its own way (4.7.3), so the answer alone counts.
    """
    end, told = prompt.rstrip(), answer_of(answer).strip()
    return answer if (told or answer.strip()) and end.endswith(told or answer.strip()) else ""


def _answers_tool(state: Mapping[str, Any]) -> bool:
    """Whether the newest thing in an API request's history is a tool's result."""
    rows: Sequence[Sequence[Any]] = (state.get("history") or {}).get("internal") or ()
    return bool(rows) and len(rows[-1]) > 2 and bool(rows[-1][2])
