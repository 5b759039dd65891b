"""The main path: a turn opens, its text grows, it closes, it is scored off the reply's path, and is kept.

`open_turn`, `chunk` and `close` only hand over values: they take microseconds and never raise on purpose.
One worker thread scores, so that two chats never compete for the embedder.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout  # the built-in one only since Python 3.11
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from exllama_guard.core.ports import Embedder, Retriever, SupportScorer, TraceSink, Verifier
from exllama_guard.core.records import (
    Channel,
    Finish,
    FloatArray,
    ModelInfo,
    Reader,
    Reason,
    Snippet,
    TurnReport,
    TurnRequest,
    encodable,
    make_snippet,
    with_unique_ids,
)
from exllama_guard.core.reply_text import answer_of, is_tool_call
from exllama_guard.core.scoring import Limits, score_turn, unscored_turn
from exllama_guard.core.similarity import embed_ahead
from exllama_guard.errors import EmbedderError, ScoringError, TraceError
from exllama_guard.settings import Settings, changed

log = logging.getLogger(__name__)

_READERS_KEPT = 64  # readers whose turns are remembered; the least recent is forgotten first
_EVENTS_KEPT = 200
_PROBLEMS_KEPT = 20


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened between turns; `at_s` is seconds since the epoch."""

    at_s: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a panel shows to one reader. `version` rises with every change; `turns` newest first."""

    version: int
    enabled: bool
    live: TurnReport | None
    turns: tuple[TurnReport, ...]
    problems: tuple[str, ...]
    events: tuple[Event, ...]
    model: ModelInfo | None
    capabilities: tuple[str, ...]
    embedder: str
    waiting: int
    shed: int


@dataclass(frozen=True, slots=True)
class Parts:
    """What a monitor works with, made from settings; None where a part is off."""

    embedder: Embedder | None
    verifier: Verifier | None
    trace: TraceSink | None
    knowledge: Retriever | None


class MakeParts(Protocol):
    """Makes the parts for settings, reusing those of `before` that did not change."""

    def __call__(self, settings: Settings, before: Parts | None, report: ReportProblem) -> Parts:
        """The parts; a part that cannot be made is None and reported in one sentence."""
        ...


class MakeScorer(Protocol):
    """Makes the support scorer of one turn."""

    def __call__(
        self, snippets: Sequence[Snippet], question: str, parts: Parts, settings: Settings
    ) -> SupportScorer:
        """A scorer that remembers what it has scored of this turn."""
        ...


class ReportProblem(Protocol):
    """Shows one sentence in the panel."""

    def __call__(self, sentence: str | None, key: str) -> None:
        """Shows `sentence`; a second one with the same `key` replaces the first, None takes it back."""
        ...


class TurnHandle:
    """An open turn, as the host's adapter holds it. Not shared between threads of different turns."""

    def __init__(
        self,
        monitor: Monitor,
        request: TurnRequest,
        collect: Callable[[], tuple[Snippet, ...]] | None,
    ) -> None:
        """Made by `Monitor.open_turn`; `collect` finds the snippets later, on the scoring thread."""
        self._monitor = monitor
        self.request = request
        self.collect: Callable[[], tuple[Snippet, ...]] | None = collect or tuple
        self.scorer: SupportScorer | None = None
        self.text = ""
        self.scored_text = ""
        self.report: TurnReport | None = None
        self.due_at_s = 0.0
        self.scheduled = False
        self.closed = False
        self.opened_at_s = time.monotonic()
        self.first_token_s: float | None = None

    def chunk(self, text: str) -> None:
        """Takes the reply's text so far, the whole of it as the host yields it (without `answer_prefix`)."""
        self.text = text
        now = time.monotonic()
        if self.first_token_s is None and text:
            self.first_token_s = now - self.opened_at_s
        if not self.scheduled and now >= self.due_at_s and text:
            self.scheduled = True
            self._monitor.score_live(self)

    def close(self, text: str, finish: Finish) -> None:
        """Ends the turn with its final text; a second call does nothing."""
        if self.closed:
            return
        self.closed = True
        self.text = text
        self._monitor.score_final(self, finish)


class Monitor:
    """Holds the open turns, the worker that scores them, and what the panel shows. Thread-safe.

    The lock protects the remembered turns, problems, events and the queue; it is never held while scoring
    or while calling the host.
    """

    def __init__(self, settings: Settings, *, make_parts: MakeParts, make_scorer: MakeScorer) -> None:
        """Starts with `settings`; nothing heavy happens before the first turn."""
        self._lock = threading.RLock()
        self._make_parts = make_parts
        self._make_scorer = make_scorer
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="guardrails-scoring")
        self._open: OrderedDict[str, TurnHandle] = OrderedDict()
        self._queue: deque[tuple[TurnHandle, Future[None]]] = deque()
        self._turns: OrderedDict[Reader, deque[TurnReport]] = OrderedDict()
        self._problems: OrderedDict[str, str] = OrderedDict()
        self._events: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self._version = 0
        self._shed = 0
        self.model: ModelInfo | None = None
        self.capabilities: tuple[str, ...] = ()
        self.multi_user = False
        self.settings = settings
        self._parts: Parts | None = None

    # --- what the host's adapter calls ------------------------------------------------------------------

    def open_turn(
        self, request: TurnRequest, collect: Callable[[], tuple[Snippet, ...]] | None = None
    ) -> TurnHandle:
        """A handle for the reply that starts now; `collect` adds snippets later, off the reply's path."""
        handle = TurnHandle(self, request, collect)
        if not self.settings.enabled:
            handle.closed = True
            handle.due_at_s = float("inf")
            return handle
        with self._lock:
            self._open[request.turn_id] = handle
            while len(self._open) > self.settings.queue_limit:
                self._open.popitem(last=False)
        self._worker.submit(self._prepare, handle).add_done_callback(self._after_job)
        return handle

    def model_changed(self, model: ModelInfo | None, capabilities: Sequence[str] = ()) -> None:
        """Notes which model is loaded now and, in plain sentences, what its loader allows."""
        with self._lock:
            if _who(model) != _who(self.model):
                self._add_event(
                    "model", f"Model {model.name} ({model.loader})." if model else "No model loaded."
                )
            self.model = model
            self.capabilities = tuple(capabilities)
            self._version += 1

    def report_problem(self, sentence: str | None, key: str) -> None:
        """Shows one sentence in the panel; the same `key` shows once, with its newest; None takes it back."""
        if sentence is None:
            self.clear_problem(key)
            return
        with self._lock:
            if self._problems.get(key) == sentence:
                return
            self._problems[key] = sentence
            self._problems.move_to_end(key)
            while len(self._problems) > _PROBLEMS_KEPT:
                self._problems.popitem(last=False)
            self._version += 1

    def clear_problem(self, key: str) -> None:
        """Takes a sentence back, because what it told of works again."""
        with self._lock:
            if self._problems.pop(key, None) is not None:
                self._version += 1

    def record_event(self, kind: str, text: str) -> None:
        """Adds an event (model load, rotation, switch) to the panel's list."""
        with self._lock:
            self._add_event(kind, text)
            self._version += 1

    # --- what the panel calls ---------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """Whether turns are measured."""
        return self.settings.enabled

    @property
    def version(self) -> int:
        """A number that rises with every change of what a panel shows."""
        return self._version

    def set_enabled(self, enabled: bool) -> None:
        """Switches measuring on or off; the chat goes on either way."""
        if enabled != self.settings.enabled:
            with self._lock:
                self.settings = replace(self.settings, enabled=enabled)
                for handle in self._open.values():
                    handle.closed = True
                self._open.clear()
                self._add_event(
                    "switch", "Guardrails switched on." if enabled else "Guardrails switched off."
                )
                self._version += 1

    def change_settings(self, **values: object) -> tuple[str, ...]:
        """Takes new values; gives one sentence for each that was not usable, whose old value stays."""
        settings, problems = changed(self.settings, values)
        self.replace_settings(settings)
        return problems

    def replace_settings(self, settings: Settings) -> None:
        """Works with `settings` from the next turn on; parts are remade where they changed."""
        with self._lock:
            remake = self._parts is not None and settings != self.settings
            self.settings = settings
            self._version += 1
        if remake:
            self._worker.submit(self._remake_parts).add_done_callback(self._after_job)

    def reader_for(self, username: str | None, session: str | None) -> Reader:
        """Who someone is: on a host with logins or several users a private reader, else everyone."""
        if username:
            return Reader(username=username)
        return Reader(session=session) if self.multi_user else Reader()

    def snapshot(self, reader: Reader | None = None) -> Snapshot:
        """What `reader` may see; None (the command line) sees everything. No work beyond copying."""
        with self._lock:
            live = next(
                (h.report for h in reversed(self._open.values()) if h.report and _may_see(h.request, reader)),
                None,
            )
            turns = [turn for kept in self._turns.values() for turn in kept if _may_see(turn.request, reader)]
            turns.sort(key=lambda turn: turn.request.started_at_s, reverse=True)
            return Snapshot(
                version=self._version,
                enabled=self.settings.enabled,
                live=live,
                turns=tuple(turns[: self.settings.turns_kept]),
                problems=tuple(self._problems.values()),
                events=tuple(self._events),
                model=self.model,
                capabilities=self.capabilities,
                embedder=self._embedder_id(),
                waiting=len(self._queue),
                shed=self._shed,
            )

    def check_pasted(
        self, question: str, snippet_texts: Sequence[str], answer: str, reader: Reader | None = None
    ) -> TurnReport:
        """The report of a question, snippets and an answer that somebody pasted; needs no model."""
        texts = [text for text in snippet_texts if text.strip()]
        snippets = tuple(make_snippet(text, position=index) for index, text in enumerate(texts))
        request = TurnRequest(
            turn_id=f"pasted-{time.time_ns()}",
            question=question,
            snippets=snippets,
            reader=reader or Reader(),
            channel=Channel.PASTED,
            started_at_s=time.time(),
        )
        return self.measure(request, answer)

    def measure(self, request: TurnRequest, answer: str) -> TurnReport:
        """The report of a whole answer at once; waits for it, keeps and traces nothing.

        Raises:
            ScoringError: A fault of ours; it is logged with its traceback.
        """
        handle = TurnHandle(self, request, None)
        job = self._worker.submit(self._report, handle, answer, Finish.COMPLETE)
        fault = job.exception()
        if fault is not None:
            log.error("scoring failed", exc_info=fault)
            raise ScoringError(
                f"This answer could not be checked ({type(fault).__name__}: {fault}); please report it."
            ) from fault
        return job.result()

    @property
    def knowledge(self) -> Retriever | None:
        """The knowledge folder's retriever, or None where no folder is set or its index is not ready."""
        return self._ready_parts().knowledge if self.settings.knowledge_folder else None

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors by the embedder in use, shape (texts, dimensions); answers are checked in between.

        Raises:
            EmbedderError: There is no embedder, or it failed.
        """
        return self._worker.submit(self._embed, texts).result()

    def _embed(self, texts: Sequence[str]) -> FloatArray:
        embedder = self._ready_parts().embedder
        if embedder is None:
            raise EmbedderError("There is no embedder; set one and reload.")
        return embedder.embed(texts)

    def warm(self) -> None:
        """Starts to load the embedder in the background, so that the first answer does not wait for it."""
        self._worker.submit(self._warm_embedder).add_done_callback(self._after_job)

    def wait_until_idle(self, timeout_s: float = 60.0) -> bool:
        """True once everything that was handed over before is scored; False when the time ran out."""
        done = self._worker.submit(lambda: None)
        try:
            done.result(timeout_s)
        except FutureTimeout:
            return False
        return True

    # --- scoring ----------------------------------------------------------------------------------------

    def score_live(self, handle: TurnHandle) -> None:
        """Queues a scoring of the text so far; called by the handle a few times a second."""
        self._worker.submit(self._score_live, handle).add_done_callback(self._after_job)

    def score_final(self, handle: TurnHandle, finish: Finish) -> None:
        """Queues the scoring of a finished reply; the oldest waiting one is dropped beyond the limit."""
        with self._lock:
            future = self._worker.submit(self._score_final, handle, finish)
            self._queue.append((handle, future))
            while len(self._queue) > self.settings.queue_limit:
                old, waiting = self._queue.popleft()
                if waiting.cancel():
                    self._open.pop(old.request.turn_id, None)
                    self._shed += 1
        future.add_done_callback(self._after_job)

    def _score_live(self, handle: TurnHandle) -> None:
        if handle.closed or handle.text == handle.scored_text or not self.settings.enabled:
            handle.scheduled = False
            return
        text = handle.text
        report = self._report(handle, text, Finish.STREAMING)
        pause_s = max(1.0 / self.settings.live_updates_per_s, 4 * report.elapsed_s)
        with self._lock:
            handle.report = report
            handle.scored_text = text
            self._version += 1
        handle.due_at_s = time.monotonic() + pause_s
        handle.scheduled = False

    def _score_final(self, handle: TurnHandle, finish: Finish) -> None:
        with self._lock:
            if self._queue and self._queue[0][0] is handle:
                self._queue.popleft()
            current = handle.request.turn_id in self._open
            self._shed += not current  # too many were open at once
        report = self._report(handle, handle.text, finish) if current else None
        with self._lock:
            self._open.pop(handle.request.turn_id, None)
            if report is not None:
                self._remember(report)
            self._version += 1
        trace = self._ready_parts().trace
        if report is not None and trace is not None:
            self._write(trace, report)

    def _prepare(self, handle: TurnHandle) -> None:
        """Reads and embeds the snippets while the model still reads its prompt."""
        if handle.closed:
            return
        self._collect(handle)
        self._scorer_of(handle).prepare()
        embedder = self._ready_parts().embedder
        if embedder is not None and handle.request.snippets:
            with suppress(EmbedderError):  # told by the score itself
                embed_ahead(handle.request.question, handle.request.snippets, embedder)

    def _collect(self, handle: TurnHandle) -> None:
        """Finds the turn's snippets, once."""
        if handle.collect is None:
            return
        found = handle.request.snippets + handle.collect()
        question = encodable(handle.request.question)
        handle.request = replace(handle.request, snippets=with_unique_ids(found), question=question)
        handle.collect = None

    def _scorer_of(self, handle: TurnHandle) -> SupportScorer:
        if handle.scorer is None:
            request = handle.request
            handle.scorer = self._make_scorer(
                request.snippets, request.question, self._ready_parts(), self.settings
            )
        return handle.scorer

    def _report(self, handle: TurnHandle, reply: str, finish: Finish) -> TurnReport:
        self._collect(handle)
        parts, settings = self._ready_parts(), self.settings
        answer = encodable(answer_of(handle.request.answer_prefix + reply))
        if is_tool_call(reply):
            return unscored_turn(handle.request, answer, finish, Reason.TOOL_CALL)
        return score_turn(
            handle.request,
            answer,
            finish,
            scorer=self._scorer_of(handle),
            embedder=parts.embedder,
            limits=Limits(settings.distance_pass, settings.distance_fail),
            time_to_first_token_s=handle.first_token_s,
        )

    # --- inside -----------------------------------------------------------------------------------------

    def _remember(self, report: TurnReport) -> None:
        kept = self._turns.setdefault(report.request.reader, deque())
        self._turns.move_to_end(report.request.reader)
        kept.append(report)
        while len(kept) > self.settings.turns_kept:
            kept.popleft()
        while len(self._turns) > _READERS_KEPT:
            self._turns.popitem(last=False)

    def _write(self, trace: TraceSink, report: TurnReport) -> None:
        try:
            trace.write(report)
        except TraceError as error:
            self.report_problem(str(error), "trace")
        else:
            self.clear_problem("trace")

    def _ready_parts(self) -> Parts:
        with self._lock:
            if self._parts is None:
                self._parts = self._make_parts(self.settings, None, self.report_problem)
            return self._parts

    def _remake_parts(self) -> None:
        parts = self._make_parts(self.settings, self._parts, self.report_problem)
        with self._lock:
            self._parts = parts
            self._version += 1

    def _warm_embedder(self) -> None:
        embedder = self._ready_parts().embedder
        if embedder is not None:
            embedder.embed(["warm-up"])

    def _embedder_id(self) -> str:
        if self._parts is None or self._parts.embedder is None:
            return "none"
        return self._parts.embedder.id

    def _add_event(self, kind: str, text: str) -> None:
        self._events.append(Event(time.time(), kind, text))

    def _after_job(self, future: Future[None]) -> None:
        """Tells of a job that failed; the executor has caught what it raised and goes on."""
        try:
            error = future.exception()
        except CancelledError:
            return
        if error is not None:
            log.error("scoring failed", exc_info=error)
            self.report_problem(
                f"An answer could not be checked ({type(error).__name__}); the chat is not affected. "
                "The log has the details.",
                "scoring",
            )


def _who(model: ModelInfo | None) -> tuple[str, str] | None:
    return None if model is None else (model.name, model.loader)


def _may_see(request: TurnRequest, reader: Reader | None) -> bool:
    return reader is None or request.reader == reader


_monitor: Monitor | None = None
_monitor_lock = threading.Lock()


def get_monitor() -> Monitor:
    """The process's one monitor, made on first use; it survives the host's re-import of script.py."""
    global _monitor  # one a process, on purpose: the host loads script.py anew, this package stays
    with _monitor_lock:
        if _monitor is None:
            from exllama_guard.assembly import build_monitor

            _monitor = build_monitor(Settings())
        return _monitor
