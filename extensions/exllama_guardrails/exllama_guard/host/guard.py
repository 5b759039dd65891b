"""The one place that catches every exception: a fault of ours must not end a chat turn.

`guarded` wraps what the host calls; `report` says in the panel what went wrong.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from exllama_guard.core.faults import FaultLog
from exllama_guard.errors import GuardError

__all__ = ["Show", "guarded", "report", "report_to"]

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Show = Callable[["str | None", str], None]  # a sentence, or None to take back what the key showed

_faults = FaultLog()

_show: Show | None = None
_before: list[tuple[str | None, str]] = []  # found before there was a panel to show it
_lock = threading.Lock()  # protects the two names above


def report_to(show: Show | None) -> None:
    """Says who shows what is reported, from what was found before on; None: it waits again."""
    global _show  # one a process: the host re-imports script.py, this package stays
    with _lock:
        _show = show
        _faults.forget()
        waiting = list(_before) if show is not None else []
        _before.clear()
    for sentence, key in waiting:
        if show is not None:
            show(sentence, key)


def report(sentence: str | None, key: str) -> None:
    """Shows a sentence in the panel, once there is one; None takes back what `key` showed."""
    show = _show
    if show is not None:
        show(sentence, key)
    else:
        with _lock:
            _before.append((sentence, key))


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
                with suppress(Exception):  # what cannot even be reported must not end a turn either
                    _report_error(function.__name__, error)
                value: T = instead(*args, **kwargs)
                return value

        return safe

    return decorate


def _report_error(where: str, error: Exception) -> None:
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
