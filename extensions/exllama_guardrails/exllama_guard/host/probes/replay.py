"""Asks the host a question as a chat would, while only some extensions are on for the thread that asks.

Nobody else's turn sees the change: the host looks its extensions up by `modules.extensions.iterator`
(4.7.3 and 3.23), on the thread of the turn, and only our thread's look-up is narrowed.
"""

from __future__ import annotations

import functools
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from exllama_guard.assembly import snippets_of
from exllama_guard.core.turns import Channel, TurnReport
from exllama_guard.errors import BackendError
from exllama_guard.host import webui
from exllama_guard.host.lifecycle.model_watch import stop_presses
from exllama_guard.host.patches import Patches
from exllama_guard.host.probes.generator import probe_state
from exllama_guard.host.turn.notes import TurnNotes
from exllama_guard.host.turn.own_reply import HOST_RAISES
from exllama_guard.host.turn.request import opening_of
from exllama_guard.probes import Sampling

if TYPE_CHECKING:
    from exllama_guard.monitor import Monitor

__all__ = ["ReplayingHost"]


class _Here(threading.local):
    """Of one thread: the extensions that are on (None: as ticked), and the prompts that were made."""

    on: frozenset[str] | None = None
    made: list[tuple[str, dict[str, Any]]] | None = None


_here = _Here()


class ReplayingHost:
    """The host's chat, for questions that are asked again."""

    def __init__(self, monitor: Monitor, notes: TurnNotes) -> None:
        """Measures with `monitor`; `notes` are the hooks'. The host is changed by the first question only."""
        self._monitor, self._notes = monitor, notes

    def ask(
        self, question: str, on: frozenset[str], sampling: Sampling, seed: int, cancel: threading.Event
    ) -> TurnReport | None:
        """The measured turn of a new chat, which no reader's list and no trace holds; None where stopped."""
        if getattr(webui.shared_module(), "model", None) is None:
            raise BackendError("No model is loaded any more; load one on the Model page.")
        with _only(on):
            answer = _answer(question, probe_state(sampling, seed), cancel)
            made = _here.made or []
        if answer is None or not made:
            return None
        prompt, state = made[-1]
        opening = opening_of(self._monitor, self._notes, prompt, state, True)
        request = replace(
            opening.request,
            turn_id=uuid.uuid4().hex,
            question=question,
            channel=Channel.HEADLESS,
            snippets=snippets_of(opening.gathered, self._monitor.settings.work_limit_s),
            extensions=tuple(sorted(on)),
        )
        return self._monitor.measure(request, answer)


def _answer(question: str, state: dict[str, Any], cancel: threading.Event) -> str | None:
    """The whole reply, or None where it was stopped."""
    replies = import_module("modules.chat").generate_chat_reply(question, state, loading_message=False)
    presses = stop_presses()
    rows: list[Any] = []
    try:
        for history in replies:
            rows = history.get("internal") or []
            if cancel.is_set():
                return None
    except HOST_RAISES as error:
        raise BackendError(
            f"The host could not answer ({type(error).__name__}: {str(error)[:120]}); its log says more."
        ) from error
    finally:
        replies.close()
    if webui.stopped() or stop_presses() != presses:
        return None  # somebody's Stop cut it short
    return str(rows[-1][1]) if rows else None


@contextmanager
def _only(on: frozenset[str]) -> Iterator[None]:
    """This thread's turns see only the extensions `on`, and our own; their prompts are noted.

    Raises:
        BackendError: The host looks its extensions up in another way, so nothing can be narrowed.
    """
    patches = Patches()
    try:
        patches.replace(import_module("modules.extensions"), "iterator", _narrowed)
        patches.replace(import_module("modules.chat"), "generate_reply", _noted)
    except AttributeError as error:
        patches.undo()
        raise BackendError(
            f"This version of the WebUI cannot be replayed here ({error}); record with `replay --url`."
        ) from error
    _here.on, _here.made = on, []
    try:
        yield
    finally:
        _here.on = None
        patches.undo()


def _narrowed(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def iterator() -> Iterator[tuple[Any, str]]:
        for module, name in original():
            if _here.on is None or name in _here.on or webui.is_ours(module):
                yield module, name

    return iterator


def _noted(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def generate_reply(question: str, state: dict[str, Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the host's
        if _here.on is not None and _here.made is not None:
            _here.made.append((question, state))
        return original(question, state, *args, **kwargs)

    return generate_reply
