"""Start and stop of the extension inside the host. Starting twice is the same as starting once."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exllama_guard import lifecycle
from exllama_guard.host import names, webui
from exllama_guard.host.acting.api import install_api
from exllama_guard.host.hooks import guarded, report, use_monitor
from exllama_guard.host.lifecycle.hooks import gating, lifecycle_for, loaded_model
from exllama_guard.host.lifecycle.load_watch import watch_loads
from exllama_guard.host.lifecycle.model_watch import ModelWatch
from exllama_guard.host.loaders import capabilities
from exllama_guard.host.patches import Patches
from exllama_guard.host.tools.guard import get_tool_guard, uninstall_tool_guard
from exllama_guard.host.tools.repair import repairing
from exllama_guard.host.turn.generation_lock import unwatch_lock
from exllama_guard.host.turn.observe import observing, seeing_prompt
from exllama_guard.monitor import get_monitor
from exllama_guard.probes import desk
from exllama_guard.settings import Settings, from_params

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

_patches = Patches()
_panel_built = False
_watch: ModelWatch | None = None
_last_settings: Settings | None = None


@guarded(lambda params: None)
def setup(params: Mapping[str, Any]) -> None:
    """Starts observing with the host's `params`; called again, takes changed params and nothing else."""
    monitor = get_monitor()
    use_monitor(monitor)
    _take_settings(monitor, params)
    monitor.multi_user = webui.is_multi_user()
    for sentence in (*webui.unknown_settings(params), *names.missing_parts()):
        report(sentence, sentence)
    first = _install(monitor)
    _open_desk(monitor)
    _tell_model(monitor)
    if first:
        threading.Thread(target=_warm_later, args=(monitor,), name="guardrails-warm", daemon=True).start()


@guarded(lambda: None)
def ui() -> None:
    """Builds the panel where the host asks for it."""
    global _panel_built
    from exllama_guard.panel.view import build_notice, build_panel

    if not webui.is_switched_on():  # the host draws it all the same where no other extension is ticked
        build_notice(_UNTICKED)
        return
    again, _panel_built = _panel_built, True
    if again:  # a restart of the page: what was loaded while the extension was not ticked
        threading.Thread(target=_follow_again, name="guardrails-follow", daemon=True).start()
    shown = getattr(webui.shared_module(), "gradio", {}).get("display")  # changes with each part of a reply
    monitor = get_monitor()
    tools = get_tool_guard(lambda: monitor.settings)
    build_panel(monitor, wake_on=() if shown is None else (shown,), tools=tools)


def uninstall() -> tuple[str, ...]:
    """Puts the host back as it was; names of what stays, because another extension wrapped it since."""
    global _watch, _last_settings
    use_monitor(None)
    follower = lifecycle.current()
    if follower is not None:
        follower.model_changed(None)
        lifecycle.use(None)
    desk.use(None)
    unwatch_lock(webui.shared_module())
    left = uninstall_tool_guard() + _patches.undo()
    if _watch is not None and not _watch.uninstall():
        left += ("modules.shared",)
    _watch = None
    _last_settings = None
    return left


def _install(monitor: Monitor) -> bool:
    """True when this start was the first. Each part stands alone: one that fails takes no other with it."""
    first = _watch is None
    _observe_replies(monitor)
    _observe_prompts()
    _observe_loads(monitor)
    _observe_model(monitor)
    _install_tools(monitor)
    _install_api(monitor)  # after the tool lock, which changes the API's request class before it is used
    return first


@guarded(lambda monitor: None)
def _observe_replies(monitor: Monitor) -> None:
    follower = lifecycle.current()
    if follower is None:
        follower = lifecycle_for(monitor)
        lifecycle.use(follower)
    text_generation = webui.text_generation_module()
    if hasattr(text_generation, "_generate_reply"):
        watch, hold = observing(monitor), gating(follower)
        _patches.replace(
            text_generation, "_generate_reply", lambda original: watch(hold(repairing(original)))
        )


@guarded(lambda: None)
def _observe_prompts() -> None:
    text_generation = webui.text_generation_module()
    for name in ("generate_reply_HF", "generate_reply_custom"):
        if hasattr(text_generation, name):
            _patches.replace(text_generation, name, seeing_prompt)


@guarded(lambda monitor: None)
def _observe_loads(monitor: Monitor) -> None:
    watch_loads(_patches, monitor)


@guarded(lambda monitor: None)
def _observe_model(monitor: Monitor) -> None:
    global _watch
    if _watch is None:
        _watch = ModelWatch(webui.shared_module(), lambda: _model_assigned(monitor))
        _watch.install()


@guarded(lambda monitor: None)
def _install_api(monitor: Monitor) -> None:
    """Reports for API clients, where the API is there already; asked again once the page is up."""
    install_api(_patches, monitor)


@guarded(lambda monitor: None)
def _open_desk(monitor: Monitor) -> None:
    """The probes' desk, which the panel finds."""
    from exllama_guard.host.probes.desk import desk_for

    if desk.current() is None:
        desk.use(desk_for(monitor))


@guarded(lambda monitor: None)
def _install_tools(monitor: Monitor) -> None:
    """The tool lock; a host that it does not fit keeps everything else."""
    get_tool_guard(lambda: monitor.settings).install()


@guarded(lambda monitor: None)
def _warm_later(monitor: Monitor) -> None:
    """Loads the embedder once the page has been up for a while.

    gradio 4.37 gives its own page 3 s to answer while it starts, and the server ends when it does not; the
    import of an embedding library beside it can take that long on a small machine.
    """
    until = time.monotonic() + _WARM_AT_LATEST_S
    while time.monotonic() < until and not webui.page_is_up():
        time.sleep(_POLL_S)
    time.sleep(_WARM_AFTER_PAGE_S)
    _install_api(monitor)
    _follow_model()
    monitor.warm()


def _take_settings(monitor: Monitor, params: Mapping[str, Any]) -> None:
    """Only settings that changed since the last start replace the monitor's: a re-import undoes no switch."""
    global _last_settings
    settings, problems = from_params(params)
    for sentence in problems:
        report(sentence, sentence)
    if settings == _last_settings:
        return
    _last_settings = settings
    if settings.traces and not settings.trace_folder:
        settings = replace(
            settings, trace_folder=str(webui.user_data_dir() / "exllama_guardrails" / "traces")
        )
    monitor.replace_settings(settings)


@guarded(lambda: None)
def _follow_again() -> None:
    _tell_model(get_monitor())
    _follow_model()


@guarded(lambda monitor: None)
def _model_assigned(monitor: Monitor) -> None:
    if not webui.is_switched_on():
        return
    _tell_model(monitor)
    _follow_model()
    get_tool_guard(lambda: monitor.settings).model_changed()


@guarded(lambda: None)
def _follow_model() -> None:
    """Has the model that is loaded now warmed up and followed."""
    follower = lifecycle.current()
    if follower is not None:
        follower.model_changed(loaded_model())


@guarded(lambda monitor: None)
def _tell_model(monitor: Monitor) -> None:
    model, known = webui.model_info(), monitor.model
    if model and known and known.model_hash and (model.name, model.loader) == (known.name, known.loader):
        return  # told already, with what its files say
    monitor.model_changed(model, capabilities(model.loader if model is not None else None))
