"""Watches every reply where the host generates it, for all loaders, the page and the API alike.

`modules.text_generation.generate_reply` looks up `_generate_reply` as a global (4.7.3 and 3.23), so a
function put in its place sees the prompt, the state, each text so far and how it ends.
"""

from __future__ import annotations

import functools
import html
import inspect
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from exllama_guard.core.records import Channel, Finish, TurnRequest
from exllama_guard.host import webui
from exllama_guard.host.hand_over import taken_for
from exllama_guard.host.hooks import guarded, notes
from exllama_guard.host.question import last_answer, last_user_text, question_of_prompt
from exllama_guard.host.reader import current_identity
from exllama_guard.host.turn_notes import TurnNote
from exllama_guard.sources.collect import Gathered, collect_snippets
from exllama_guard.sources.marked_block import OPENING, without_blocks

if TYPE_CHECKING:
    from exllama_guard.monitor import Monitor, TurnHandle

__all__ = ["PROBE", "observing", "seeing_prompt"]

PROBE = "exllama_guardrails_probe"  # a state with this key is our own generation and is not observed

Reply = Callable[..., Generator[str, Any, Any]]


class _Turn:
    """One reply being observed. Lives on whatever thread the host runs its step on, one at a time."""

    def __init__(
        self, monitor: Monitor, prompt: str, state: dict[str, Any], is_chat: bool, escaped: bool
    ) -> None:
        self._monitor = monitor
        self._prompt = prompt
        self._state = state
        self._is_chat = is_chat
        self._escaped = escaped
        self._stop_event = state.get("stop_event")
        self._handle: TurnHandle | None = None
        self._tried = False
        self._text = ""
        self._text_before = ""
        self._told = True  # False once telling of a step went wrong: one fault a reply is enough
        self.finish = Finish.FAILED

    @guarded(lambda self, prompt: None)
    def begin(self, prompt: str | None) -> None:
        """Opens the turn with the prompt that the loader gets; None: the one that was given."""
        if self._tried:
            return
        self._tried = True
        if prompt is not None:
            self._prompt = prompt
        request, gathered = _request(self._monitor, self._prompt, self._state, self._is_chat)
        self._handle = self._monitor.open_turn(request, functools.partial(collect_snippets, gathered))

    def _tell_no_more(self, text: str) -> None:
        self._told = False

    @guarded(_tell_no_more)
    def chunk(self, text: str) -> None:
        """Takes the text so far; a step that is no text is the host's own affair."""
        if not isinstance(text, str):
            return
        self._text_before, self._text = self._text, text
        if not self._told:
            return
        if not self._tried:
            self.begin(None)
        if self._handle is not None:
            self._handle.chunk(html.unescape(text) if self._escaped else text)

    @guarded(lambda self: None)
    def close(self) -> None:
        """Ends the turn."""
        handle, self._handle = self._handle, None
        if handle is not None:
            finish = self._how_it_ended()
            # A chat turn that the host leaves on Stop drops the step at which it saw the button.
            dropped = self._is_chat and finish is Finish.STOPPED and self.finish is Finish.DISCONNECTED
            text = self._text_before if dropped else self._text
            handle.close(html.unescape(text) if self._escaped else text, finish)

    @guarded(lambda self: self.finish)
    def _how_it_ended(self) -> Finish:
        if self.finish is Finish.FAILED:
            return self.finish
        if self._stop_event is not None and self._stop_event.is_set():
            return Finish.DISCONNECTED  # the API sets its event when the client is gone
        if webui.stopped():
            return Finish.STOPPED
        if self.finish is Finish.DISCONNECTED and self._state.get("tools"):
            return Finish.COMPLETE  # the host itself breaks off once it has read a tool call
        return self.finish


_current: ContextVar[_Turn | None] = ContextVar("exllama_guard_turn", default=None)


def observing(monitor: Monitor) -> Callable[[Reply], Reply]:
    """Gives a wrapper for the host's `_generate_reply` that reports each reply to `monitor`."""

    def wrap(original: Reply) -> Reply:
        plan = _planner(monitor, original)

        @functools.wraps(original)
        def observed(*args: Any, **kwargs: Any) -> Generator[str, Any, Any]:  # noqa: ANN401 - the host's
            replies = original(*args, **kwargs)
            turn = plan(*args, **kwargs)
            if turn is None:
                return (yield from replies)
            return (yield from _watched(replies, turn))

        return observed

    return wrap


def seeing_prompt(original: Callable[..., Any]) -> Callable[..., Any]:
    """A wrapper for `generate_reply_HF` and `generate_reply_custom`, which get the prompt as it will be."""

    @functools.wraps(original)
    def seen(question: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the host's
        turn = _current.get()
        if turn is not None:
            turn.begin(question)
        return original(question, *args, **kwargs)

    return seen


def _watched(replies: Iterable[str], turn: _Turn) -> Generator[str, Any, Any]:
    """Passes every value, exception and close() through, and tells `turn` of them."""
    steps = iter(replies)
    try:
        while True:
            token = _current.set(turn)
            try:
                text = next(steps)
            except StopIteration as end:
                turn.finish = Finish.COMPLETE
                return end.value
            finally:
                _current.reset(token)
            turn.chunk(text)
            yield text
    except GeneratorExit:
        turn.finish = Finish.DISCONNECTED
        raise
    finally:
        close = getattr(steps, "close", None)
        if close is not None:
            close()
        turn.close()


def _no_turn(*args: Any, **kwargs: Any) -> _Turn | None:  # noqa: ANN401 - the host's
    return None


def _planner(monitor: Monitor, original: Reply) -> Callable[..., _Turn | None]:
    signature = inspect.signature(original)

    @guarded(_no_turn)
    def plan(*args: Any, **kwargs: Any) -> _Turn | None:  # noqa: ANN401 - the host's
        """The turn that a call of `_generate_reply` starts; None where it is not one to observe."""
        if not monitor.enabled or not webui.is_switched_on():
            return None
        given = signature.bind(*args, **kwargs).arguments
        prompt, state = given["question"], given["state"]
        is_chat, for_ui = bool(given.get("is_chat")), bool(given.get("for_ui"))
        if not isinstance(prompt, str) or PROBE in state:
            return None
        if is_chat and not for_ui and "unique_id" in state:
            return None  # the page's own errands: search query, impersonate, image prompt
        return _Turn(monitor, prompt, state, is_chat, bool(given.get("escape_html")))

    return plan


def _request(
    monitor: Monitor, prompt: str, state: dict[str, Any], is_chat: bool
) -> tuple[TurnRequest, Gathered]:
    note = notes.take(state) or TurnNote(state)
    history = _copied(note.history or state.get("history") or {})
    prefix = ""
    regenerate = tool_turn = False
    if is_chat:
        new = bool(note.question)
        tool_turn = bool(state.get("_tool_turn")) or (not new and _answers_tool(state))
        prefix = "" if new else _continued(prompt, last_answer(state.get("history") or {}))
        regenerate = note.question is None and not prefix and not tool_turn
        question = _asked(note.question) or last_user_text(note.history or state.get("history") or {})
        page = "unique_id" in state
        channel = Channel.CHAT if page else Channel.API_CHAT
    else:
        question, channel = question_of_prompt(prompt), Channel.COMPLETION
    username, session = current_identity()
    chat_id = state.get("unique_id")
    handed = taken_for(chat_id, username, session, shared_host=monitor.multi_user)
    request = TurnRequest(
        turn_id=uuid.uuid4().hex,
        question=question,
        snippets=(),
        prompt=prompt,
        answer_prefix=prefix,
        chat_id=str(chat_id) if chat_id else None,
        reader=monitor.reader_for(username, session),
        channel=channel,
        model=webui.model_info(),
        regenerate=regenerate,
        tool_turn=tool_turn,
        started_at_s=time.time(),
    )
    others = tuple(str(state[name]) for name in _TEXTS if state.get(name)) + ((prefix,) if prefix else ())
    gathered = Gathered(
        prompt=prompt,
        history=history,
        question=question,
        handed_over=handed,
        knowledge=note.knowledge,
        lookup=monitor.knowledge.lookup if monitor.knowledge is not None else _unknown,
        other_texts=others,
        templates=webui.templates(state),
        look_for_injected=bool(webui.active_text_extensions()),
    )
    return request, gathered


def _unknown(text: str) -> None:
    return None


_TEXTS = ("custom_system_message", "context", "user_bio", "greeting")


def _asked(text: str | None) -> str:
    """The user's own words, without marked blocks; a text is read line by line only where it has one."""
    return (without_blocks(text) if text and OPENING in text else text or "").strip()


def _copied(history: Mapping[str, Any]) -> dict[str, Any]:
    """The lists as they stand now: the host replaces rows and adds entries, it does not edit them."""
    return {
        "internal": list(history.get("internal") or ()),
        "metadata": dict(history.get("metadata") or {}),
    }


def _continued(prompt: str, answer: str) -> str:
    """The answer that the prompt ends with, because it is to be continued; "" where it does not."""
    end = answer.strip()
    return answer if end and prompt.rstrip().endswith(end) else ""


def _answers_tool(state: Mapping[str, Any]) -> bool:
    """Whether the newest thing in an API request's history is a tool's result."""
    rows: Sequence[Sequence[Any]] = (state.get("history") or {}).get("internal") or ()
    return bool(rows) and len(rows[-1]) > 2 and bool(rows[-1][2])
