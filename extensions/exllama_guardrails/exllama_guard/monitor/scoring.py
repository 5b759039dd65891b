"""The scoring worker: one thread reads, embeds and scores, so that two chats never compete."""

from __future__ import annotations

import logging
import re
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, ParamSpec, TypeVar

from exllama_guard.core.faults import FaultLog
from exllama_guard.core.measures import Reason
from exllama_guard.core.ports import LaterReading, ReadingScorer, SupportScorer, TraceSink
from exllama_guard.core.snippets import encodable, with_unique_ids
from exllama_guard.core.turns import Finish, Reader, TurnReport, TurnRequest
from exllama_guard.errors import EmbedderError, TraceError, VerifierError
from exllama_guard.grounding import Limits, answer_of, embed_ahead, is_tool_call, score_turn, unscored_turn
from exllama_guard.monitor.memory import Memory, may_see
from exllama_guard.monitor.pacing import pause_s
from exllama_guard.monitor.parts import MakeScorer, Outfit, Parts
from exllama_guard.monitor.turn import TurnHandle

log = logging.getLogger(__name__)

_AHEAD_PER_PLACE = 4  # waiting jobs that may be left out, for each place in the queue
_LATER_S = 1.0  # until a live score that found no place is tried again
_HEAD_START_S = 0.05  # that a model has for its prompt before the snippets are read beside it
_AT_A_TIME_S = 0.002  # of work, after which what is left waits for its time
_READ = "The reader has read this answer."
_SENTENCE_END = re.compile(r"[.!?。！？\n]")

P = ParamSpec("P")
T = TypeVar("T")


class ScoringWorker:
    """The open turns, the finished ones that wait, and the one thread that scores both.

    `lock` (the monitor's) protects the open turns and the queue; it is never held while scoring.
    """

    def __init__(
        self, outfit: Outfit, memory: Memory, make_scorer: MakeScorer, lock: threading.RLock
    ) -> None:
        """The thread starts with the first job."""
        self._outfit = outfit
        self._memory = memory
        self._make_scorer = make_scorer
        self._lock = lock
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="guardrails-scoring")
        self._open: OrderedDict[str, TurnHandle] = OrderedDict()
        self._queue: deque[tuple[TurnHandle, Finish]] = deque()
        self._ahead = 0  # jobs that wait and may be left out
        self._handed = 0  # jobs that wait
        self.later: LaterReading | None = None
        self.pause_s = 0.0  # what the last live score was worth
        self._faults = FaultLog()
        self.shed = 0

    @property
    def waiting(self) -> int:
        """Finished replies that wait to be scored."""
        return len(self._queue)

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Has `work` done in its turn; the caller looks at the result."""
        with self._lock:
            self._handed += 1
        return self._worker.submit(self._take, partial(work, *args, **kwargs))

    def _take(self, work: Callable[[], T]) -> T:
        with self._lock:
            self._handed -= 1
        return work()

    def start(self, work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> Future[None]:
        """Has `work` done in its turn; a fault is logged and told in the panel."""
        future = self.submit(work, *args, **kwargs)
        future.add_done_callback(self._after_job)
        return future

    def open(self, handle: TurnHandle) -> None:
        """Takes a turn that starts now; the oldest open one is dropped beyond the limit."""
        self._start_ahead(self._prepare, handle)
        with self._lock:
            self._memory.touch()
            for other in self._open.values():
                if not other.closed:
                    other.beside += 1
                    handle.beside += 1
            self._open[handle.request.turn_id] = handle
            while len(self._open) > self._outfit.settings.queue_limit:
                self._open.popitem(last=False)

    def drop_open(self) -> None:
        """Forgets the turns that run now; finished ones that wait are still scored."""
        with self._lock:
            for turn_id, handle in tuple(self._open.items()):
                if not handle.closed:
                    handle.closed = True
                    del self._open[turn_id]

    def live(self, reader: Reader | None) -> TurnReport | None:
        """The newest report of a turn that still runs and that `reader` may see."""
        with self._lock:
            return next(
                (h.report for h in reversed(self._open.values()) if h.report and may_see(h.request, reader)),
                None,
            )

    def coming(self, reader: Reader | None, newest: TurnRequest | None) -> bool:
        """Whether `reader` has a turn without a score that began after `newest` did."""
        after_s = newest.started_at_s if newest else float("-inf")
        with self._lock:
            return any(
                handle.report is None
                and handle.request.started_at_s >= after_s
                and may_see(handle.request, reader)
                for handle in self._open.values()
            )

    def doing(self, reader: Reader | None) -> str:
        """What is done with the newest open turn of `reader` beyond writing it; "" where nothing is."""
        with self._lock:
            told = (h.doing for h in reversed(self._open.values()) if may_see(h.request, reader))
            return next(told, "")

    def told(self) -> None:
        """Takes note that a turn has something new to tell."""
        self._memory.touch()

    def score_live(self, handle: TurnHandle) -> None:
        """Queues a scoring of the text so far; called by the handle a few times a second."""
        if not self._start_ahead(self._score_live, handle):
            handle.due_at_s = time.monotonic() + _LATER_S
            handle.scheduled = False

    def score_final(self, handle: TurnHandle, finish: Finish) -> None:
        """Queues the scoring of a finished reply; the oldest waiting one is dropped beyond the limit."""
        full = False
        with self._lock:
            self._queue.append((handle, finish))
            while len(self._queue) > self._outfit.settings.queue_limit:
                old, _ = self._queue.popleft()
                self._open.pop(old.request.turn_id, None)
                self.shed += 1
                full = True
        if full:
            return  # the job that waits for the dropped one takes the next
        started = False
        try:
            self.start(self._score_waiting)
            started = True
        finally:  # where no thread can be had the turn does not stay open; a later job counts it as shed
            if not started:
                with self._lock:
                    self._open.pop(handle.request.turn_id, None)

    def _score_waiting(self) -> None:
        """Scores what waits, oldest first; a fault ends this job, and the next one goes on."""
        while True:
            with self._lock:
                if not self._queue:
                    return
                handle, finish = self._queue.popleft()
            self._score_final(handle, finish)

    def _start_ahead(self, work: Callable[[TurnHandle], None], handle: TurnHandle) -> bool:
        """Has `work` done in its turn, unless the turn is gone by then; False where too much waits."""
        with self._lock:
            if self._ahead >= _AHEAD_PER_PLACE * self._outfit.settings.queue_limit:
                return False
            self._ahead += 1
        self.start(self._do_ahead, work, weakref.ref(handle))
        return True

    def _do_ahead(self, work: Callable[[TurnHandle], None], held: weakref.ref[TurnHandle]) -> None:
        with self._lock:
            self._ahead -= 1
        handle = held()
        if handle is not None:
            work(handle)

    def score_ahead(self, handle: TurnHandle, text: str, finish: Finish) -> Future[TurnReport]:
        """The report of a whole reply of an open turn, some time soon; keeps nothing."""
        future = self.submit(self.report, handle, text, finish)
        future.add_done_callback(self._after_job)
        return future

    def report(
        self, handle: TurnHandle, reply: str, finish: Finish, parts: Parts | None = None
    ) -> TurnReport:
        """The report of a reply, whole or so far, by `parts` (those in use); on the worker's thread."""
        self._collect(handle)
        settings = self._outfit.settings
        if parts is None:
            parts = self._outfit.ready()
        answer = encodable(answer_of(handle.request.answer_prefix + reply))
        if is_tool_call(reply):
            return unscored_turn(handle.request, answer, finish, Reason.TOOL_CALL)
        return score_turn(
            handle.request,
            answer,
            finish,
            scorer=self._scorer_of(handle, parts),
            embedder=parts.embedder,
            limits=Limits(settings.distance_pass, settings.distance_fail, settings.relevance_limit),
            time_to_first_token_s=handle.first_token_s,
        )

    def _score_live(self, handle: TurnHandle) -> None:
        settings = self._outfit.settings
        if handle.closed or handle.text == handle.scored_text or not settings.enabled:
            handle.scheduled = False
            return
        if handle.report and not _SENTENCE_END.search(handle.text, len(handle.scored_text)):
            self._pause(handle, 0.0)  # what is new is no sentence yet
            return
        started_s = time.thread_time()
        while handle.ahead is not None and time.thread_time() - started_s < _AT_A_TIME_S:
            self._step(handle)
        if handle.ahead is None and time.thread_time() - started_s < _AT_A_TIME_S:
            text = handle.text
            report = self.report(handle, text, Finish.STREAMING)
            with self._lock:
                handle.report = report
                handle.scored_text = text
                self._memory.touch()
        self._pause(handle, time.thread_time() - started_s)

    def _pause(self, handle: TurnHandle, took_s: float) -> None:
        """Lets the handle ask again once `took_s` is paid for by the time gone by, or soon enough."""
        running_s = time.monotonic() - handle.opened_at_s - (handle.first_token_s or 0.0)
        worth_s = pause_s(took_s, running_s, scored=handle.report is not None)
        self.pause_s = worth_s or self.pause_s
        least_s = 0.0 if handle.ahead else 1.0 / self._outfit.settings.live_updates_per_s
        handle.due_at_s = time.monotonic() + max(least_s, worth_s)
        handle.scheduled = False

    def _score_final(self, handle: TurnHandle, finish: Finish) -> None:
        with self._lock:
            current = handle.request.turn_id in self._open
            self.shed += not current  # too many were open at once
        report = None
        try:
            report = self.report(handle, handle.text, finish) if current else None
            if report is not None and handle.settled is not None and handle.settled.answer == report.answer:
                report = handle.settled
            if report is not None and (handle.acted is not None or handle.beside):
                report = replace(report, acted=handle.acted or report.acted, beside=handle.beside)
        finally:  # a turn that could not be checked does not stay open
            with self._lock:
                self._open.pop(handle.request.turn_id, None)
                if report is not None:
                    self._memory.remember(report, self._outfit.settings.turns_kept)
                self._memory.touch()
        if report is None:
            return
        if report.second_reader is None:
            report = self._read_again(handle, finish, report)
        if self.later is None or not self.later.take(report):
            self._trace(report)

    def settle(self, report: TurnReport) -> None:
        """Puts a finished turn that was read later in its place, and writes its trace."""
        if report.second_reader is not None:
            self._memory.settle(report)
        self._trace(report)

    def _trace(self, report: TurnReport) -> None:
        trace = self._outfit.ready().trace
        if trace is not None:
            self._write(trace, report)

    def _read_again(self, handle: TurnHandle, finish: Finish, first: TurnReport) -> TurnReport:
        """The report after the reader has read the answer; `first` where it has not or a model writes."""
        parts = self._outfit.ready()
        scorer = self._scorer_of(handle, parts)
        if parts.reader is None or self._open or not isinstance(scorer, ReadingScorer):
            return first
        try:
            if not scorer.read(first.answer):
                return first
        except VerifierError as error:
            self._memory.report_problem(str(error), "reader")
            return first
        self._memory.clear_problem("reader")
        settled = self.report(handle, handle.text, finish, parts)
        settled = replace(settled, acted=first.acted, beside=first.beside, notes=(*settled.notes, _READ))
        self._memory.settle(settled)
        return settled

    def _prepare(self, handle: TurnHandle) -> None:
        """Reads and embeds the snippets while the model reads its prompt; the rest is for the live scores.

        It starts a little later than the model, which may have read a short prompt by then: both use Python.
        All is read at once where the answer's end will wait for its verdict.
        """
        settings = self._outfit.settings
        waits = {settings.on_fail, settings.on_review} != {"show"} or settings.api_report
        end_s = handle.opened_at_s + (0.0 if waits else _HEAD_START_S)
        while self._is_reading(handle) and not self._handed and time.monotonic() < end_s:
            time.sleep(_HEAD_START_S / 10)
        handle.ahead = self._steps(handle)
        while handle.ahead is not None and (self._is_reading(handle) or (waits and not handle.closed)):
            self._step(handle)

    @staticmethod
    def _is_reading(handle: TurnHandle) -> bool:
        return handle.first_token_s is None and not handle.closed

    @staticmethod
    def _step(handle: TurnHandle) -> None:
        if handle.ahead is not None and next(handle.ahead, handle) is handle:  # a step gives None
            handle.ahead = None

    def _steps(self, handle: TurnHandle) -> Iterator[None]:
        """What a first score would have to do; `score_turn` makes up for what is left out."""
        self._collect(handle)
        parts = self._outfit.ready()
        yield from self._scorer_of(handle, parts).prepare()
        embedder = parts.embedder
        if embedder is not None and handle.request.snippets:
            with suppress(EmbedderError):  # told by the score itself
                yield from embed_ahead(handle.request.question, handle.request.snippets, embedder)

    def _collect(self, handle: TurnHandle) -> None:
        """Finds the turn's snippets, once."""
        if handle.collect is None:
            return
        found = handle.request.snippets + handle.collect()
        question = encodable(handle.request.question)
        handle.request = replace(handle.request, snippets=with_unique_ids(found), question=question)
        handle.collect = None

    def _scorer_of(self, handle: TurnHandle, parts: Parts) -> SupportScorer:
        if handle.scorer is None:
            request = handle.request
            handle.scorer = self._make_scorer(
                request.snippets, request.question, parts, self._outfit.settings
            )
        return handle.scorer

    def _write(self, trace: TraceSink, report: TurnReport) -> None:
        try:
            trace.write(report)
        except TraceError as error:
            self._memory.report_problem(str(error), "trace")
        else:
            self._memory.clear_problem("trace")

    def _after_job(self, future: Future[Any]) -> None:
        """Tells of a job that failed; the executor has caught what it raised and goes on."""
        try:
            error = future.exception()
        except CancelledError:
            return
        if error is not None:
            fault = self._faults.note(
                error,
                f"An answer could not be checked ({type(error).__name__}); the chat is not affected. "
                "The log has the details.",
            )
            if fault.is_new:
                log.error("scoring failed", exc_info=error)
            self._memory.report_problem(fault.sentence, "scoring")
