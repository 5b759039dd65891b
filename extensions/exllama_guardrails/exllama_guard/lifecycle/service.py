"""Follows the loaded model: warms it up, compares its canary, counts its tokens, rotates its cache."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from exllama_guard.backends import LoadedModel
from exllama_guard.core.backend import Backend, Capabilities, ModelCard
from exllama_guard.errors import BackendError, TraceError
from exllama_guard.lifecycle.canary import CanaryFinding, CanaryStore
from exllama_guard.lifecycle.canary_keeper import CanaryKeeper
from exllama_guard.lifecycle.fence import FenceReport, FenceState, Gate, run_fence
from exllama_guard.lifecycle.kv_cache import Cause
from exllama_guard.lifecycle.notices import Notices, Spawn
from exllama_guard.lifecycle.path import GenerationPath, Turnstile
from exllama_guard.lifecycle.upkeep import Upkeep, UpkeepSnapshot
from exllama_guard.loaders import backend_for
from exllama_guard.settings import Settings

__all__ = ["Lifecycle", "LifecycleSnapshot"]

_POLL_S = 0.05  # how often a warm-up that waits for the host's lock looks whether a request took it over
_GRACE_S = 5.0  # beyond the limit, for a probe's last token


@dataclass(frozen=True, slots=True)
class LifecycleSnapshot:
    """What the panel shows of the loaded model."""

    state: FenceState
    name: str = ""
    loader: str = ""
    card: ModelCard | None = None
    capabilities: Capabilities | None = None
    report: FenceReport | None = None
    canary: CanaryFinding | None = None
    cache: UpkeepSnapshot = field(default_factory=UpkeepSnapshot)
    rotation_tokens: int = 0
    rotation_on: bool = True
    requests_waiting: int = 0
    last_wait_s: float | None = None
    bad_logits: bool = False  # NaN or Inf was seen since the load


class Lifecycle:
    """One loaded model at a time. Thread-safe; `_lock` protects what is known of it, never while generating.

    `spawn` runs a function on a thread of its own and tells of what it raises.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        path: GenerationPath,
        notices: Notices,
        spawn: Spawn,
        store: CanaryStore | None = None,
        make_backend: Callable[[LoadedModel], Backend] = backend_for,
        on_card: Callable[[ModelCard, Capabilities], None] = lambda card, can: None,
    ) -> None:
        """Knows of no model yet; `on_card` hears what is loaded once its files are hashed."""
        self._settings, self._path, self._notices = settings, path, notices
        self._spawn, self._make_backend, self._on_card = spawn, make_backend, on_card
        self._canaries = CanaryKeeper(store, path)
        self._lock = threading.RLock()
        self._gate = Gate()
        self._upkeep = Upkeep(settings, path, notices, spawn)
        self._loaded: LoadedModel | None = None
        self._backend: Backend | None = None
        self._cancel = threading.Event()
        self._shown = LifecycleSnapshot(FenceState.NONE)
        self._warmed_at_s = 0.0  # end of the last warm-up, by perf_counter

    # --- what the host's adapter calls ------------------------------------------------------------------

    def model_changed(self, loaded: LoadedModel | None) -> bool:
        """Takes note of a load or an unload, at once; False where it is the load that is known already."""
        with self._lock:
            if _same(self._loaded, loaded):
                return False
            before, self._loaded = self._loaded, loaded
            self._cancel.set()  # a warm-up of the model before ends at its next token
            self._cancel = cancel = threading.Event()
            ticket = self._gate.arm()
            self._backend = self._adapter(loaded)
            self._upkeep.take(self._backend)
            warm = loaded is not None and self._backend is not None and self._wants_warmth()
            self._shown = LifecycleSnapshot(
                state=FenceState.WARMING if warm else FenceState.OFF if loaded else FenceState.NONE,
                name=loaded.name if loaded else "",
                loader=loaded.loader if loaded else "",
                capabilities=self._backend.capabilities if self._backend else None,
            )
            if not warm:
                self._gate.open(ticket)
        self._report_change(before, loaded)
        if warm and loaded is not None:
            self._spawn(lambda: self._warm_when_free(ticket, loaded, cancel))
        return True

    def before_reply(
        self,
        loaded: LoadedModel | None,
        given_up: Callable[[], bool] = lambda: False,
        since_s: float | None = None,
    ) -> float:
        """Seconds that a user's request waited here until the model was warm, or the limit was reached.

        Called where the host generates; the caller may hold the host's generation lock, in which case no
        worker of ours can, so the request that comes first has the warm-up run on its own right of way.
        A request that is `given_up` returns at once; one that lent its right of way, once that is free.
        `since_s` is when it began to wait for the host's lock, by `perf_counter`.
        """
        self.model_changed(loaded)
        started_s = since_s or time.perf_counter()
        if self._gate.is_open:
            if since_s is None or since_s >= self._warmed_at_s:
                return 0.0
            self._show(last_wait_s=time.perf_counter() - started_s)
            return time.perf_counter() - started_s
        ticket, cancel = self._gate.ticket, self._cancel
        lent = loaded is not None and self._gate.claim(ticket)
        if lent and loaded is not None:
            self._spawn(lambda: self._warm(ticket, loaded, cancel, None))
        limit_s = self._settings().warmup_limit_s + _GRACE_S
        opened = self._gate.wait(limit_s, given_up)
        if not opened and given_up():
            if lent:
                self._gate.wait(limit_s)
        elif not opened:
            self._notices.record_event(
                "warm-up", f"A request passed after {limit_s:g} s although the model is not warm yet."
            )
        waited_s = time.perf_counter() - started_s
        self._show(last_wait_s=waited_s)
        return waited_s

    def reply_ended(self, prompt: str, reply: str, ttft_s: float | None) -> None:
        """Hands a finished reply over to be counted; takes microseconds."""
        self._upkeep.reply_ended(prompt, reply, ttft_s)

    def saw_bad_logits(self) -> None:
        """NaN or Inf came out of the model: the cache is reset as soon as the answer is written."""
        self._upkeep.force(Cause.BAD_LOGITS)
        self._show(bad_logits=True)
        self._notices.report_problem(
            "The model's logits held NaN or Inf, so the answer may be damaged. The cache is reset after it; "
            "if it comes again, reload the model and check its quantisation, torch and CUDA.",
            "bad logits",
        )

    # --- what the panel and the command line call -------------------------------------------------------

    def snapshot(self) -> LifecycleSnapshot:
        """What is known now; copies values only."""
        settings = self._settings()
        waiting = 0 if self._gate.is_open else self._path.waiting()
        with self._lock:
            return replace(
                self._shown,
                cache=self._upkeep.snapshot(),
                rotation_tokens=settings.rotation_tokens,
                rotation_on=settings.rotation,
                requests_waiting=self._gate.waiting + waiting,
            )

    @property
    def upkeep(self) -> Upkeep:
        """Counting, rotation and drift of the loaded model's cache."""
        return self._upkeep

    def _wants_warmth(self) -> bool:
        settings = self._settings()
        return settings.enabled and settings.warmup

    # --- warm-up ----------------------------------------------------------------------------------------

    def _adapter(self, loaded: LoadedModel | None) -> Backend | None:
        if loaded is None:
            return None
        try:
            return self._make_backend(loaded)
        except BackendError as error:
            self._notices.report_problem(str(error), "adapter")
            return None

    def _warm_when_free(self, ticket: int, loaded: LoadedModel, cancel: threading.Event) -> None:
        """Waits for the right of way, unless a request that has it takes the warm-up over."""
        while not self._gate.claimed and self._gate.current(ticket):
            turnstile = self._path.enter(_POLL_S)
            if turnstile is None:
                continue
            if self._gate.claim(ticket):
                self._warm(ticket, loaded, cancel, turnstile)
            else:
                turnstile.leave()

    def _warm(
        self, ticket: int, loaded: LoadedModel, cancel: threading.Event, turnstile: Turnstile | None
    ) -> None:
        limit_s = self._settings().warmup_limit_s
        rescue = threading.Timer(limit_s + _GRACE_S, lambda: self._let_pass(ticket, limit_s, turnstile))
        rescue.daemon = True
        rescue.start()
        backend = self._backend
        report = None
        try:
            report = run_fence(
                self._path,
                None if backend is None else backend.count_tokens,
                limit_s=limit_s,
                cancel=cancel,
                still_wanted=lambda: self._gate.current(ticket),
            )
        finally:
            rescue.cancel()
            state = FenceState.FAILED if report is None else report.state
            with self._lock:
                if self._gate.current(ticket):
                    self._shown = replace(self._shown, state=state, report=report)
                    self._warmed_at_s = time.perf_counter()
            self._gate.open(ticket)
            if turnstile is not None:
                turnstile.leave()
        self._report_warm_up(ticket, loaded, report)

    def _let_pass(self, ticket: int, limit_s: float, turnstile: Turnstile | None) -> None:
        """The probe hangs: requests pass, with a warning."""
        if turnstile is not None:
            turnstile.leave()
        with self._lock:
            if self._gate.current(ticket):
                self._shown = replace(self._shown, state=FenceState.LATE)
        self._gate.open(ticket)
        self._notices.report_problem(
            f"The warm-up still hangs {_GRACE_S:g} s after its limit of {limit_s:g} s; requests pass now. "
            "Reload the model if answers do not come.",
            "warm-up",
        )

    def _report_warm_up(self, ticket: int, loaded: LoadedModel, report: FenceReport) -> None:
        self._notices.record_event("warm-up", f"{loaded.name}: {report.sentence()}")
        if not self._gate.current(ticket):
            return
        if report.failure:
            self._notices.report_problem(f"{loaded.name}: {report.sentence()}", "warm-up")
        else:
            self._notices.clear_problem("warm-up")
        self._take_canary(ticket, loaded, report)

    def _take_canary(self, ticket: int, loaded: LoadedModel, report: FenceReport) -> None:
        backend, cancel = self._backend, self._cancel
        if backend is None or not self._gate.current(ticket):
            return
        try:
            card = backend.card()
            self._on_card(card, backend.capabilities)
            finding = self._canaries.compare(card, report, loaded.options(), cancel)
        except (BackendError, TraceError) as error:
            self._notices.report_problem(str(error), "canary")
            return
        with self._lock:
            if self._gate.current(ticket):
                self._shown = replace(self._shown, card=card, canary=finding)
        if finding is None:
            return
        if finding.same is False:
            self._upkeep.force(Cause.CANARY)
            self._notices.report_problem(f"{loaded.name}: {finding.sentence()}", "canary")
            self._upkeep.rotate()
        else:
            self._notices.clear_problem("canary")

    def _report_change(self, before: LoadedModel | None, loaded: LoadedModel | None) -> None:
        """Tells of the same model under other settings; the monitor itself tells of other models."""
        if before is None or loaded is None or (before.name, before.loader) != (loaded.name, loaded.loader):
            return
        old, new = asdict(before.settings), asdict(loaded.settings)
        changed = [name for name in old if old[name] != new[name]]
        changes = [f"{name} {old[name] or 'none'} → {new[name] or 'none'}" for name in changed]
        self._notices.record_event(
            "model", f"{loaded.name} was loaded anew ({'; '.join(changes) or 'same settings'})."
        )

    def _show(self, **values: Any) -> None:  # noqa: ANN401 - fields of the snapshot
        with self._lock:
            self._shown = replace(self._shown, **values)


def _same(a: LoadedModel | None, b: LoadedModel | None) -> bool:
    """Whether both are the same load: the same object, under the same settings."""
    if a is None or b is None:
        return a is b
    return (a.name, a.loader, a.settings) == (b.name, b.loader, b.settings) and a.model() is b.model()
