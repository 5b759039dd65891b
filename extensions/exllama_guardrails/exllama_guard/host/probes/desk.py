"""Builds the probes' desk over the host: its model, its lock, its turns, its tools, its extensions."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from exllama_guard.backends import read_json
from exllama_guard.core.backend import Capabilities
from exllama_guard.core.measures import FloatArray, NotScored, Reason
from exllama_guard.core.turns import Reader, TurnReport
from exllama_guard.errors import BackendError
from exllama_guard.host import webui
from exllama_guard.host.lifecycle.hooks import loaded_model
from exllama_guard.host.lifecycle.path import HostPath
from exllama_guard.host.probes.generator import HostGenerator, users_first
from exllama_guard.host.probes.replay import ReplayingHost
from exllama_guard.host.session import Session
from exllama_guard.lifecycle import DriftReport, FenceReport, FenceState, LifecycleSnapshot, alone
from exllama_guard.loaders import backend_for
from exllama_guard.probes import Comparison, DeskParts, ProbeDesk
from exllama_guard.probes.doctor import (
    BaselineStore,
    Fence,
    ModelSigns,
    ModeSummary,
    ToolCounts,
    modes_of_report,
    tool_counts,
)
from exllama_guard.probes.measures import RetrievalLimits
from exllama_guard.probes.modes import LoadedReading
from exllama_guard.probes.reports import environment_rows
from exllama_guard.tools import may_see

if TYPE_CHECKING:
    from exllama_guard.monitor import Monitor

__all__ = ["COMPARISON", "desk_for"]

COMPARISON = "compare.json"  # `compare --json user_data/exllama_guardrails/compare.json`
_ENTER_S = 0.25  # one try for the lock; between two of them `cancel` is looked at


def desk_for(session: Session) -> ProbeDesk:
    """A desk over the host's loaded model and the session's turns."""
    monitor = session.monitor
    folder = webui.user_data_dir() / "exllama_guardrails"
    return ProbeDesk(
        DeskParts(
            generator=HostGenerator(lambda: session.lifecycle),
            users_first=users_first,
            embedder=lambda: _SharedEmbedder(monitor),
            verifier=lambda: monitor.verifier,
            retriever=lambda: monitor.knowledge,
            turns=lambda reader: monitor.snapshot(reader).turns,
            path=_path,
            reading=_reading,
            signs=lambda reader: _signs(session, reader),
            drift=lambda: _drift(session),
            modes=lambda: _modes(folder / COMPARISON),
            model=lambda: monitor.model,
            extensions=webui.active_extensions,
            text_extensions=webui.active_text_extensions,
            replay=ReplayingHost(monitor, session.notes),
            limits=lambda: _limits(monitor),
            window=lambda: monitor.settings.resonance_window,
            environment=lambda: _environment(monitor),
            keep=lambda: folder / "probes.jsonl" if monitor.settings.trace_text else None,
            baselines=BaselineStore(folder / "baselines.json"),
            comparison=Comparison(folder / COMPARISON, _models_folder),
        )
    )


def _models_folder() -> Path | None:
    args = getattr(webui.shared_module(), "args", None)
    folder = getattr(args, "model_dir", None)
    return Path(str(folder)) if folder else None


def _modes(path: Path) -> Sequence[ModeSummary] | None:
    """The modes of the last comparison, where its report was put; None without one."""
    data = read_json(path)
    return modes_of_report(data) if data else None


class _SharedEmbedder:
    """The embedder that answers are checked with, on the worker that checks them."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    @property
    def id(self) -> str:
        """Name of the embedder in use."""
        return self._monitor.snapshot(Reader()).embedder

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors, shape (texts, dimensions)."""
        return self._monitor.embed(texts)


def _limits(monitor: Monitor) -> RetrievalLimits:
    settings = monitor.settings
    return RetrievalLimits(settings.distance_pass, settings.distance_fail, settings.coverage_pass)


def _environment(monitor: Monitor) -> dict[str, str]:
    model = webui.model_info()
    if model is None:
        return environment_rows(embedder=monitor.snapshot(Reader()).embedder)
    return environment_rows(
        model=model.name,
        loader=model.loader,
        quantisation=model.quantisation or "not told by the loader",
        cache=model.cache_type or "not told by the loader",
        embedder=monitor.snapshot(Reader()).embedder,
    )


# --- the loaded model -----------------------------------------------------------------------------------


def _path() -> Path | None:
    loaded = loaded_model()
    return loaded.path if loaded is not None else None


def _reading(cancel: threading.Event) -> LoadedReading | NotScored:
    """The loaded model as one that reads, or why it cannot."""
    loaded = loaded_model()
    if loaded is None:
        return NotScored(Reason.NO_MODEL)
    try:
        backend = backend_for(loaded)
    except BackendError as error:
        return NotScored(Reason.NOT_SUPPORTED, str(error))
    return LoadedReading(loaded, backend, _enter, cancel)


@contextmanager
def _enter(cancel: threading.Event) -> Iterator[bool]:
    """The host's generation lock once users' requests went first; False when cancelled before."""
    users_first(cancel)
    while not cancel.is_set():
        with alone(HostPath(), _ENTER_S) as entered:
            if entered:
                yield True
                return
    yield False


# --- what use has shown ---------------------------------------------------------------------------------


def _drift(session: Session) -> DriftReport | None:
    follower = session.lifecycle
    return follower.snapshot().cache.drift if follower is not None else None


def _signs(session: Session, reader: Reader) -> ModelSigns:
    follower = session.lifecycle
    tools = _tools(session, reader)
    if follower is None:
        return ModelSigns(tools=tools)
    seen = follower.snapshot()
    canary = seen.canary
    return ModelSigns(
        fence=_fence(seen),
        finite=_finite(seen, seen.capabilities),
        warm_is_cold=_warm_is_cold(seen.cache.drift),
        shards_before=canary.shards_before if canary is not None else None,
        shards_now=seen.card.shard_hash if seen.card is not None else "",
        canary=canary.sentence() if canary is not None and canary.same is False else "",
        tools=tools,
        loader=seen.loader,
        logprobs=None if seen.state is FenceState.NONE else _gives_logprobs(seen.capabilities),
        second_reader=session.monitor.settings.second_reader != "off",
    )


def _gives_logprobs(can: Capabilities | None) -> bool:
    """Whether those of the next token can be had; not where no adapter knows the loader."""
    return can is not None and can.next_logprobs


_BEFORE_WARM = {
    FenceState.WARM: True,
    FenceState.UNSETTLED: True,
    FenceState.LATE: False,
    FenceState.FAILED: False,
}


def _fence(seen: LifecycleSnapshot) -> Fence | None:
    if seen.state is FenceState.NONE:
        return None
    report: FenceReport | None = seen.report
    if report is None:
        return Fence(
            seen.state.value,
            _BEFORE_WARM.get(seen.state),
            NotScored(Reason.NOT_ENOUGH_DATA, seen.state.value),
        )
    differs = report.first_run_differs
    return Fence(
        state=seen.state.value,
        kept=_BEFORE_WARM.get(seen.state),
        ratio=report.first_run_ratio,
        same_text=None if differs is None else not differs,
        slowest_s=max((run.elapsed_s for run in report.runs), default=None),
    )


def _finite(seen: LifecycleSnapshot, can: Capabilities | None) -> bool | None:
    """False once NaN or Inf was seen; True where they would have been seen in a reply since the load."""
    if seen.bad_logits:
        return False
    watched = can is not None and can.sees_bad_logits and seen.cache.tokens_since_reset > 0
    return True if watched else None


def _warm_is_cold(drift: DriftReport | None) -> bool | None:
    if drift is None or isinstance(drift.numeric_at_tokens, NotScored):
        return None
    return drift.numeric_at_tokens is None


def _tools(session: Session, reader: Reader) -> ToolCounts:
    ledger = session.tools.ledger
    records = [record for chat in ledger.called() if may_see(chat, reader) for record in ledger.calls(chat)]
    if not records:
        return ToolCounts()
    turns: tuple[TurnReport, ...] = session.monitor.snapshot(reader).turns
    return tool_counts(records, [turn.answer for turn in turns])
