"""Watches every reply where the host generates it, for all loaders, the page and the API alike.

`modules.text_generation.generate_reply` looks up `_generate_reply` as a global (4.7.3 and 3.23), so a
function put in its place sees the prompt, the state, each text so far and how it ends.
"""

from __future__ import annotations

import functools
import html
import inspect
from collections.abc import Callable, Generator, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exllama_guard.core.turns import Finish
from exllama_guard.host import webui
from exllama_guard.host.acting.acting import Acting
from exllama_guard.host.acting.api import note_report
from exllama_guard.host.acting.call import Call
from exllama_guard.host.guard import guarded
from exllama_guard.host.session import Session
from exllama_guard.host.stepping import stepped
from exllama_guard.host.turn.reply_call import repeating
from exllama_guard.host.turn.request import opening_of
from exllama_guard.sources import collect_snippets

if TYPE_CHECKING:
    from exllama_guard.monitor import TurnHandle

__all__ = ["PROBE", "observing", "seeing_prompt"]

PROBE = "exllama_guardrails_probe"  # a state with this key is our own generation and is not observed

Reply = Callable[..., Generator[str, Any, Any]]


@dataclass(frozen=True, slots=True)
class _Decided:
    """It is decided what to do; `text` is the model's text to keep, None where deciding went wrong."""

    text: str | None


def _undecided(self: _Turn, steps: Generator[str, None, str]) -> str | _Decided:
    return _Decided(None)


class _Turn:
    """One reply being observed. Lives on whatever thread the host runs its step on, one at a time."""

    def __init__(self, session: Session, prompt: str, call: Call) -> None:
        self._monitor, self._notes, self._lines = session.monitor, session.notes, session.lines
        self._prompt = prompt
        self._call = call
        self._state = state = call.state
        self._is_chat = call.is_chat
        self._escaped = call.escaped
        self._acting = Acting(
            session.monitor.settings, call, session.lines, session.first, lambda: session.second
        )
        self._kept: str | None = None  # the model's text to measure, once it was decided what to do
        self._ended: Finish | None = None
        self._stop_event = state.get("stop_event")
        self._handle: TurnHandle | None = None
        self._tried = False
        self._text = ""
        self._text_before = ""
        self._reporting = True  # False once telling of a step went wrong: one fault a reply is enough
        self.finish = Finish.FAILED

    @guarded(lambda self, prompt: None)
    def begin(self, prompt: str | None) -> None:
        """Opens the turn with the prompt that the loader gets; None: the one that was given."""
        if self._tried:
            return
        self._tried = True
        if prompt is not None:
            self._prompt = prompt
        self._lines.drop(self._state)
        opening = opening_of(self._monitor, self._notes, self._prompt, self._state, self._is_chat)
        self._acting.prompt, self._acting.history = self._prompt, opening.history
        collect = functools.partial(collect_snippets, opening.gathered)
        self._handle = self._monitor.open_turn(opening.request, collect)

    def _report_no_more(self, text: str) -> None:
        self._reporting = False

    @guarded(_report_no_more)
    def chunk(self, text: str) -> None:
        """Takes the text so far; a step that is no text is the host's own affair."""
        if not isinstance(text, str):
            return
        self._text_before, self._text = self._text, text
        if not self._reporting:
            return
        if not self._tried:
            self.begin(None)
        if self._handle is not None:
            self._handle.chunk(html.unescape(text) if self._escaped else text)

    @guarded(lambda self, text: text)
    def passed_on(self, text: str) -> str:
        """What the reader gets of the text so far."""
        handle = self._handle
        return text if handle is None else self._acting.passed_on(handle, text)

    def after(self) -> Generator[str, None, None]:
        """Yields what follows the last token because of the verdict; nothing where nothing is asked for."""
        handle = self._handle
        if handle is None:
            return
        self._ended = self._how_it_ended()
        if self._acts(handle):
            steps = self._acting.after(handle, self._text, self._ended)
            try:
                while not isinstance(step := self._step(steps), _Decided):
                    yield step
            finally:
                steps.close()
            if step.text is None:
                yield self._text  # a fault: what the model wrote stands
            self._kept = step.text
        note_report(handle, self._kept, self._text, self._ended, self._monitor.settings)

    @guarded(lambda self, handle: False)
    def _acts(self, handle: TurnHandle) -> bool:
        return self._acting.wanted and not handle.closed

    @guarded(_undecided)
    def _step(self, steps: Generator[str, None, str]) -> str | _Decided:
        try:
            return next(steps)
        except StopIteration as end:
            return _Decided(end.value)

    @guarded(lambda self: None)
    def close(self) -> None:
        """Ends the turn."""
        handle, self._handle = self._handle, None
        if handle is not None and self._kept is not None:
            handle.close(self._kept, self._ended or self._how_it_ended())
        elif handle is not None:
            finish = self._ended or self._how_it_ended()
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


def observing(session: Session) -> Callable[[Reply], Reply]:
    """Gives a wrapper for the host's `_generate_reply` that reports each reply to the session's monitor."""

    def wrap(original: Reply) -> Reply:
        plan = _planner(session, original)

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
    steps = stepped(_current, turn, iter(replies))
    try:
        while True:
            try:
                text = next(steps)
            except StopIteration as end:
                turn.finish = Finish.COMPLETE
                result = end.value
                break
            turn.chunk(text)
            yield turn.passed_on(text)
        yield from turn.after()
        return result
    except GeneratorExit:
        turn.finish = Finish.DISCONNECTED
        raise
    finally:
        steps.close()
        turn.close()


def _no_turn(*args: Any, **kwargs: Any) -> _Turn | None:  # noqa: ANN401 - the host's
    return None


def _planner(session: Session, original: Reply) -> Callable[..., _Turn | None]:
    signature = inspect.signature(original)

    @guarded(_no_turn)
    def plan(*args: Any, **kwargs: Any) -> _Turn | None:  # noqa: ANN401 - the host's
        """The turn that a call of `_generate_reply` starts; None where it is not one to observe."""
        if not session.monitor.enabled or not webui.is_switched_on():
            return None
        bound = signature.bind(*args, **kwargs)
        given = bound.arguments
        prompt, state = given["question"], given["state"]
        is_chat, for_ui = bool(given.get("is_chat")), bool(given.get("for_ui"))
        if not isinstance(prompt, str) or PROBE in state:
            return None
        if is_chat and not for_ui and "unique_id" in state:
            return None  # the page's own errands: search query, impersonate, image prompt
        escaped = bool(given.get("escape_html"))
        again, left = repeating(original, bound), state.get("stop_event")
        return _Turn(session, prompt, Call(state, escaped, left, again, is_chat, for_ui))

    return plan
