"""The report with an API response: a `guardrails` object in it, and an address that gives the last ones.

The functions of the host's API that make a response are wrapped; which reply belongs to which response is
known by a context variable, set around each step, because the steps run on different threads.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import closing
from contextvars import ContextVar
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from exllama_guard.acting import summary_of, unchecked_summary
from exllama_guard.core.turns import Channel, Finish, Reader
from exllama_guard.host.guard import guarded
from exllama_guard.host.stepping import stepped
from exllama_guard.host.webui import shared_module
from exllama_guard.settings import Settings

if TYPE_CHECKING:
    from exllama_guard.host.patches import Patches
    from exllama_guard.monitor import Monitor, TurnHandle

__all__ = ["REPORTS_PATH", "install_api", "note_report"]

REPORTS_PATH = "/v1/internal/guardrails/turns"
_MODULES = ("modules.api", "extensions.openai")  # 4.7.3 and 3.23
_WHOLE = ("chat_completions", "completions")
_STREAMED = ("stream_chat_completions", "stream_completions")

log = logging.getLogger(__name__)
_reports: ContextVar[list[dict[str, Any]] | None] = ContextVar("exllama_guard_reports", default=None)


@guarded(lambda handle, kept, given, finish, settings: None)
def note_report(handle: TurnHandle, kept: str | None, given: str, finish: Finish, settings: Settings) -> None:
    """Notes the reply's report for the API response that it belongs to, where one asks for it.

    Args:
        handle: The open turn.
        kept: The model's text that was kept; None: what was given.
        given: The reply as the host gave it.
        finish: How it ended.
        settings: Those of this turn.
    """
    reports = _reports.get()
    if reports is None or handle.closed:
        return
    try:
        text = given if kept is None else kept
        report = handle.score(text, finish).result(settings.act_wait_ms / 1000)
    except FutureTimeout:
        why = f"The verdict was not there {settings.act_wait_ms / 1000:g} s after the last word."
        reports.append(unchecked_summary(handle.request.turn_id, why, handle.acted))
        return
    if handle.settled is not None and handle.settled.answer == report.answer:
        report = handle.settled  # the reply has waited for a second opinion
    reports.append(summary_of(replace(report, acted=handle.acted)))


def install_api(patches: Patches, monitor: Monitor) -> None:
    """Wraps the API's response functions and adds the address, where the API is there; may be called again.

    4.7.3 imports its API after the extensions, so it is imported here where the host will start it; the
    embedded host always does.
    """
    args = getattr(shared_module(), "args", None)
    if (getattr(args, "api", True) or getattr(args, "public_api", False)) and find_spec("modules.api"):
        try:
            import_module("modules.api.script")
        except ModuleNotFoundError as error:
            log.info("no API here, so no reports for its clients: %s", error)
    for package in _MODULES:
        completions = sys.modules.get(f"{package}.completions")
        if completions is not None:
            _wrap(patches, monitor, completions)
        script = sys.modules.get(f"{package}.script")
        app = getattr(script, "app", None) or getattr(script, "router", None)
        if script is not None and app is not None:
            _add_address(script, app, monitor)


def _wrap(patches: Patches, monitor: Monitor, module: ModuleType) -> None:
    @guarded(lambda: False)
    def wanted() -> bool:
        return monitor.enabled and monitor.settings.api_report

    for name in _WHOLE:
        if hasattr(module, name):
            patches.replace(module, name, functools.partial(_with_report, wanted))
    for name in _STREAMED:
        if hasattr(module, name):
            patches.replace(module, name, functools.partial(_with_last_report, wanted))


def _with_report(wanted: Callable[[], bool], original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def respond(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the host's
        if not wanted():
            return original(*args, **kwargs)
        reports: list[dict[str, Any]] = []
        token = _reports.set(reports)
        try:
            response = original(*args, **kwargs)
        finally:
            _reports.reset(token)
        return _added(response, reports)

    return respond


def _with_last_report(wanted: Callable[[], bool], original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: ANN401 - the host's
        chunks = original(*args, **kwargs)
        if not wanted():
            yield from chunks
            return
        reports: list[dict[str, Any]] = []
        with closing(stepped(_reports, reports, chunks)) as steps:
            for chunk in steps:
                yield _added(chunk, reports) if _is_last(chunk) else chunk

    return stream


@guarded(lambda chunk: False)
def _is_last(chunk: object) -> bool:
    choices: Any = chunk.get("choices") if isinstance(chunk, dict) else None
    return bool(choices) and choices[0].get("finish_reason") is not None


@guarded(lambda response, reports: response)
def _added(response: Any, reports: list[dict[str, Any]]) -> Any:  # noqa: ANN401 - the host's
    """The response with its reply's report, or a list of them where it holds several replies."""
    if isinstance(response, dict) and reports:
        return {**response, "guardrails": reports[0] if len(reports) == 1 else reports}
    return response


# --- the address ----------------------------------------------------------------------------------------


def _add_address(script: ModuleType, app: Any, monitor: Monitor) -> None:  # noqa: ANN401 - or a router
    if any(getattr(route, "path", None) == REPORTS_PATH for route in app.routes):
        return
    from fastapi import Request
    from fastapi.responses import JSONResponse

    def turns(request: Request, last: int = 1) -> JSONResponse:
        if not _from_here(request):
            return JSONResponse({"error": "Reports are given to this machine only."}, status_code=403)
        return JSONResponse({"turns": api_turns(monitor, last)})

    turns.__annotations__["request"] = Request  # a local name, which FastAPI could not look up
    turns.__annotations__["last"] = int
    app.add_api_route(
        REPORTS_PATH,
        turns,
        methods=["GET"],
        response_model=None,
        dependencies=list(getattr(script, "check_key", ())),
    )


def api_turns(monitor: Monitor, last: int) -> list[dict[str, Any]]:
    """The reports of the last API turns, newest first; none of the page's."""
    turns = monitor.snapshot(Reader()).turns
    asked = [turn for turn in turns if turn.request.channel in (Channel.API_CHAT, Channel.COMPLETION)]
    return [summary_of(turn) for turn in asked[: max(1, min(last, 100))]]


def _from_here(request: Any) -> bool:  # noqa: ANN401 - a Starlette request
    """Whether a program on this machine asks: its address is a loopback one, and no web page sent it."""
    client = getattr(request, "client", None)
    try:
        local = client is not None and ipaddress.ip_address(client.host).is_loopback
    except ValueError:
        local = False
    return local and not request.headers.get("origin")
