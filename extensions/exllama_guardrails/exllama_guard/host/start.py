"""Start and stop of the extension inside the host. Starting twice is the same as starting once."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exllama_guard.host import names, webui
from exllama_guard.host.acting.api import install_api
from exllama_guard.host.guard import guarded, report
from exllama_guard.host.keep import keep_settings
from exllama_guard.host.lifecycle.hooks import gating, lifecycle_for, loaded_model
from exllama_guard.host.lifecycle.load_watch import watch_loads
from exllama_guard.host.lifecycle.model_watch import ModelWatch
from exllama_guard.host.second_reader.model import load_key, second_reader_for
from exllama_guard.host.session import Session, session
from exllama_guard.host.tools.repair import repairing
from exllama_guard.host.turn.generation_lock import unwatch_lock
from exllama_guard.host.turn.observe import observing, seeing_prompt
from exllama_guard.loaders import capabilities
from exllama_guard.settings import from_params

if TYPE_CHECKING:
    from exllama_guard.monitor import Monitor

__all__ = ["setup", "ui", "uninstall"]

_WARM_AT_LATEST_S = 30.0  # without a page (--nowebui), or on a host that hides it
_WARM_AFTER_PAGE_S = 5.0
_POLL_S = 0.5

_UNTICKED = (
    "The guardrails are off, because the extension is not ticked: nothing is observed or measured. To switch "
    "them on, tick exllama_guardrails in the Session tab and press Apply."
)


@guarded(lambda params: None)
def setup(params: Mapping[str, Any]) -> None:
    """Starts observing with the host's `params`; called again, takes changed params and nothing else."""
    now = session()
    now.observe(True)
    _take_settings(now, params)
    now.monitor.multi_user = webui.is_multi_user()
    for sentence in (*webui.unknown_settings(params), *names.missing_parts()):
        report(sentence, sentence)
    first = _install(now)
    _open_desk(now)
    _open_second_reader(now)
    _report_model(now.monitor)
    if first:
        threading.Thread(target=_warm_later, args=(now,), name="guardrails-warm", daemon=True).start()


@guarded(lambda: None)
def ui() -> None:
    """Builds the panel where the host asks for it."""
    from exllama_guard.panel.view import build_notice, build_panel

    if not webui.is_switched_on():  # the host draws it all the same where no other extension is ticked
        build_notice(_UNTICKED)
        return
    now = session()
    again, now.panel_built = now.panel_built, True
    if again:  # a restart of the page: what was loaded while the extension was not ticked
        threading.Thread(target=_follow_again, args=(now,), name="guardrails-follow", daemon=True).start()
    shown = getattr(webui.shared_module(), "gradio", {}).get("display")  # changes with each part of a reply
    build_panel(
        now.monitor,
        wake_on=() if shown is None else (shown,),
        tools=now.tools,
        lifecycle=lambda: now.lifecycle,
        second=lambda: now.second,
        probes=lambda: now.probes,
        keep=None if webui.is_multi_user() else keep_settings,
    )


def uninstall() -> tuple[str, ...]:
    """Puts the host back as it was; names of what stays, because another extension wrapped it since."""
    now = session()
    now.observe(False)
    if now.lifecycle is not None:
        now.lifecycle.model_changed(None)
    if now.second is not None:
        now.monitor.read_later(None)
        now.second.end()
    now.lifecycle = now.probes = now.second = None
    unwatch_lock(webui.shared_module())
    left = now.tools.uninstall() + now.patches.undo()
    if now.model_watch is not None and not now.model_watch.uninstall():
        left += ("modules.shared",)
    now.model_watch = now.settings = None
    return left


def _install(now: Session) -> bool:
    """True when this start was the first. Each part stands alone: one that fails takes no other with it."""
    first = now.model_watch is None
    _observe_replies(now)
    _observe_prompts(now)
    _observe_loads(now)
    _observe_model(now)
    _install_tools(now)
    _install_api(now)  # after the tool lock, which changes the API's request class before it is used
    return first


@guarded(lambda now: None)
def _observe_replies(now: Session) -> None:
    """Wraps the function that every reply comes from.

    Innermost `repairing`, so that a second try for a schema is part of one reply; around it the wait for a
    warm model, so that a try does not wait again; outermost the watch, which sees what the reader gets and
    acts on the verdict after the last token.
    """
    if now.lifecycle is None:
        now.lifecycle = lifecycle_for(now.monitor)
    text_generation = webui.text_generation_module()
    if hasattr(text_generation, "_generate_reply"):
        watch, hold = observing(now), gating(now.lifecycle, lambda: now.second)
        now.patches.replace(
            text_generation, "_generate_reply", lambda original: watch(hold(repairing(original)))
        )


@guarded(lambda now: None)
def _observe_prompts(now: Session) -> None:
    text_generation = webui.text_generation_module()
    for name in ("generate_reply_HF", "generate_reply_custom"):
        if hasattr(text_generation, name):
            now.patches.replace(text_generation, name, seeing_prompt)


@guarded(lambda now: None)
def _observe_loads(now: Session) -> None:
    watch_loads(now.patches, now.monitor)


@guarded(lambda now: None)
def _observe_model(now: Session) -> None:
    if now.model_watch is None:
        now.model_watch = ModelWatch(webui.shared_module(), lambda: _model_assigned(now))
        now.model_watch.install()


@guarded(lambda now: None)
def _install_api(now: Session) -> None:
    """Reports for API clients, where the API is there already; asked again once the page is up."""
    install_api(now.patches, now.monitor)


@guarded(lambda now: None)
def _open_desk(now: Session) -> None:
    """The probes' desk, which the panel finds."""
    from exllama_guard.host.probes.desk import desk_for

    if now.probes is None:
        now.probes = desk_for(now)


@guarded(lambda now: None)
def _open_second_reader(now: Session) -> None:
    """The loaded model as a second reader, which turns and the panel find."""
    if now.second is None:
        now.second = second_reader_for(now.monitor)
        now.monitor.read_later(now.second)
        atexit.register(now.second.end)  # writes the traces of turns that still wait for an opinion


@guarded(lambda now: None)
def _install_tools(now: Session) -> None:
    """The tool lock; a host that it does not fit keeps everything else."""
    now.tools.install()


@guarded(lambda now: None)
def _warm_later(now: Session) -> None:
    """Loads the embedder once the page has been up for a while.

    gradio 4.37 gives its own page 3 s to answer while it starts, and the server ends when it does not; the
    import of an embedding library beside it can take that long on a small machine.
    """
    until = time.monotonic() + _WARM_AT_LATEST_S
    while time.monotonic() < until and not webui.page_is_up():
        time.sleep(_POLL_S)
    time.sleep(_WARM_AFTER_PAGE_S)
    _install_api(now)
    _follow_model(now)
    now.monitor.warm()


def _take_settings(now: Session, params: Mapping[str, Any]) -> None:
    """Only settings that changed since the last start replace the monitor's: a re-import undoes no switch."""
    settings, problems = from_params(params)
    for sentence in problems:
        report(sentence, sentence)
    if settings == now.settings:
        return
    now.settings = settings
    if settings.traces and not settings.trace_folder:
        settings = replace(
            settings, trace_folder=str(webui.user_data_dir() / "exllama_guardrails" / "traces")
        )
    now.monitor.replace_settings(settings)


@guarded(lambda now: None)
def _follow_again(now: Session) -> None:
    _report_model(now.monitor)
    _follow_model(now)


@guarded(lambda now: None)
def _model_assigned(now: Session) -> None:
    if not webui.is_switched_on():
        return
    _report_model(now.monitor)
    _follow_model(now)
    now.tools.model_changed()


@guarded(lambda now: None)
def _follow_model(now: Session) -> None:
    """Has the model that is loaded now warmed up and followed."""
    if now.lifecycle is not None:
        now.lifecycle.model_changed(loaded_model())
    if now.second is not None:
        now.second.model_changed(load_key())


@guarded(lambda monitor: None)
def _report_model(monitor: Monitor) -> None:
    model, known = webui.model_info(), monitor.model
    if model and known and known.model_hash and (model.name, model.loader) == (known.name, known.loader):
        return  # told already, with what its files say
    monitor.model_changed(model, capabilities(model.loader if model is not None else None))
