"""Puts the parts together: which embedder, verifier, traces and knowledge folder the settings ask for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from exllama_guard.core.ports import Embedder, Retriever, TraceSink, TurnScorer, Verifier
from exllama_guard.core.snippets import Snippet
from exllama_guard.core.turns import TurnRequest
from exllama_guard.monitor import Monitor, Parts, ReportProblem
from exllama_guard.settings import Settings
from exllama_guard.sources import Document, Gathered
from exllama_guard.trace import TraceWriter
from exllama_guard.worker import (
    Lane,
    Work,
    Worker,
    WorkerEmbedder,
    WorkerTurn,
    WorkerVerifier,
    collecting,
    document_reader,
)

T = TypeVar("T")

_FILE_PROBLEMS_SHOWN = 5
_QUESTION_WAIT_S = 2.0  # on the path of a reply; a question takes hundredths of a second


_work: Work | None = None
_owner = 0  # the process that it belongs to
_lock = threading.Lock()  # protects both


def work() -> Work:
    """This program's worker, made on first use; it starts its process with the first piece of work."""
    global _work, _owner  # one a program, on purpose: it holds the loaded models
    with _lock:
        if _work is None or _owner != os.getpid():  # a fork has neither its threads nor its pipes
            _work, _owner = Worker(), os.getpid()
        return _work


def use_work(made: Work | None) -> None:
    """Puts `made` in the place of this program's worker; None: the next use makes a new one."""
    global _work, _owner  # the same ones
    with _lock:
        _work, _owner = made, os.getpid()


def build_monitor(settings: Settings) -> Monitor:
    """A monitor with the real parts."""
    return Monitor(settings, make_parts=RealParts(), make_turn=_make_turn)


def embedder_for(name: str) -> Embedder:
    """The embedder that a settings value names."""
    return WorkerEmbedder(work(), name, Settings().work_limit_s)


def documents_reader() -> Callable[[Path, str], Document]:
    """What reads the document at a path, which messages call by the second argument; see `read_document`."""
    return document_reader(work(), Settings().work_limit_s)


def snippets_of(gathered: Gathered, limit_s: float) -> tuple[Snippet, ...]:
    """The snippets of a turn from what was gathered of it, within `limit_s`.

    Raises:
        OutOfTime, ProcessLost: It took too long, or the process that does it ended.
    """
    return collecting(work(), limit_s, gathered)


def _make_turn(
    request: TurnRequest, parts: Parts, settings: Settings, stop: threading.Event | None
) -> TurnScorer:
    return WorkerTurn(work(), request, settings, stop)


class RealParts:
    """Makes parts from settings, each anew only where its own settings changed."""

    def __init__(self) -> None:
        """Starts with nothing made."""
        self._made: dict[str, tuple[tuple[object, ...], object]] = {}
        self._heard: Worker | None = None

    def __call__(self, settings: Settings, before: Parts | None, report: ReportProblem) -> Parts:
        """The parts for `settings`; what cannot be made is None and reported."""
        self._listen(report)
        return Parts(
            embedder=self._embedder(settings),
            verifier=self._verifier(settings),
            trace=self._trace(settings),
            knowledge=self._knowledge(settings, report),
        )

    def _listen(self, report: ReportProblem) -> None:
        """Has the panel say it once where the work cannot be done in a process of its own."""
        doing = work()
        if isinstance(doing, Worker) and self._heard is not doing:
            self._heard = doing
            doing.when_here(partial(report, key="no process"))

    def _kept(self, part: str, key: tuple[object, ...], make: Callable[[], T]) -> T:
        """The part made before for the same key, else a new one."""
        made = self._made.get(part)
        if made is None or made[0] != key:
            made = self._made[part] = (key, make())
        return cast("T", made[1])

    def _embedder(self, settings: Settings) -> Embedder:
        key = (settings.embedder, settings.work_limit_s)
        return self._kept("embedder", key, lambda: WorkerEmbedder(work(), *key))

    def _verifier(self, settings: Settings) -> Verifier | None:
        if not settings.verifier:
            return None
        key = (settings.verifier, settings.work_limit_s)
        return self._kept("verifier", key, lambda: WorkerVerifier(work(), *key))

    def _trace(self, settings: Settings) -> TraceSink | None:
        if not (settings.traces and settings.trace_folder):
            return None
        key = (
            settings.trace_folder,
            settings.trace_text,
            settings.trace_file_bytes,
            settings.trace_files_kept,
        )
        return self._kept(
            "trace",
            key,
            lambda: TraceWriter(
                Path(settings.trace_folder).expanduser(),
                with_text=settings.trace_text,
                file_bytes=settings.trace_file_bytes,
                files_kept=settings.trace_files_kept,
            ),
        )

    def _knowledge(self, settings: Settings, report: ReportProblem) -> Retriever | None:
        if not settings.knowledge_folder:
            return None
        from exllama_guard.sources import KnowledgeFolder

        def make() -> KnowledgeFolder:
            folder = KnowledgeFolder(
                settings.knowledge_folder,
                WorkerEmbedder(
                    work(), settings.embedder, settings.work_limit_s, Lane.DOCUMENTS, _QUESTION_WAIT_S
                ),
                read=document_reader(work(), settings.work_limit_s),
                first_build_wait_s=0.0,  # asked from a hook, which must not wait
                on_progress=lambda status: _report_problems(status.problems, report),
            )
            folder.build()
            return folder

        key = (settings.knowledge_folder, settings.embedder, settings.work_limit_s)
        return self._kept("knowledge", key, make)


def _report_problems(problems: Sequence[str], report: ReportProblem) -> None:
    """Shows the first few, and takes back those that were put right since."""
    shown: list[str | None] = [*problems[:_FILE_PROBLEMS_SHOWN]]
    shown += [None] * (_FILE_PROBLEMS_SHOWN - len(shown))
    for number, problem in enumerate(shown):
        report(problem, f"knowledge {number}")
