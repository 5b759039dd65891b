"""Puts the parts together: which embedder, verifier, traces and knowledge folder the settings ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, cast

from exllama_guard.core.ports import AnswerReader, Embedder, Retriever, SupportScorer, TraceSink, Verifier
from exllama_guard.core.snippets import Snippet
from exllama_guard.embedders import SentenceTransformerEmbedder, load_embedder
from exllama_guard.monitor import Monitor, Parts, ReportProblem
from exllama_guard.settings import Settings
from exllama_guard.trace import TraceWriter
from exllama_guard.verifiers import load_reader, load_verifier

T = TypeVar("T")

_FILE_PROBLEMS_SHOWN = 5


def build_monitor(settings: Settings) -> Monitor:
    """A monitor with the real parts."""
    return Monitor(settings, make_parts=RealParts(), make_scorer=make_scorer)


def make_scorer(
    snippets: Sequence[Snippet], question: str, parts: Parts, settings: Settings
) -> SupportScorer:
    """The support scorer of one turn."""
    from exllama_guard.grounding.support import AnswerScorer

    return AnswerScorer(
        snippets,
        question,
        parts.embedder,
        parts.verifier,
        reader=parts.reader,
        support_pass=settings.support_pass,
        support_fail=settings.support_fail,
    )


class RealParts:
    """Makes parts from settings, each anew only where its own settings changed."""

    def __init__(self) -> None:
        """Starts with nothing made."""
        self._made: dict[str, tuple[tuple[object, ...], object]] = {}

    def __call__(self, settings: Settings, before: Parts | None, report: ReportProblem) -> Parts:
        """The parts for `settings`; what cannot be made is None and reported."""
        embedder = self._embedder(settings)
        return Parts(
            embedder=embedder,
            verifier=self._verifier(settings),
            reader=self._reader(settings),
            trace=self._trace(settings),
            knowledge=self._knowledge(settings, embedder, report),
        )

    def _kept(self, part: str, key: tuple[object, ...], make: Callable[[], T]) -> T:
        """The part made before for the same key, else a new one."""
        made = self._made.get(part)
        if made is None or made[0] != key:
            made = self._made[part] = (key, make())
        return cast("T", made[1])

    def _embedder(self, settings: Settings) -> SentenceTransformerEmbedder:
        return self._kept("embedder", (settings.embedder,), lambda: load_embedder(settings.embedder))

    def _verifier(self, settings: Settings) -> Verifier | None:
        return self._kept("verifier", (settings.verifier,), lambda: load_verifier(settings.verifier))

    def _reader(self, settings: Settings) -> AnswerReader | None:
        return self._kept("reader", (settings.reader,), lambda: load_reader(settings.reader))

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

    def _knowledge(self, settings: Settings, embedder: Embedder, report: ReportProblem) -> Retriever | None:
        if not settings.knowledge_folder:
            return None
        from exllama_guard.sources import KnowledgeFolder

        def make() -> KnowledgeFolder:
            folder = KnowledgeFolder(
                settings.knowledge_folder,
                embedder,
                first_build_wait_s=0.0,  # asked from a hook, which must not wait
                on_progress=lambda status: _report_problems(status.problems, report),
            )
            folder.build()
            return folder

        return self._kept("knowledge", (settings.knowledge_folder, settings.embedder), make)


def _report_problems(problems: Sequence[str], report: ReportProblem) -> None:
    """Shows the first few, and takes back those that were put right since."""
    shown: list[str | None] = [*problems[:_FILE_PROBLEMS_SHOWN]]
    shown += [None] * (_FILE_PROBLEMS_SHOWN - len(shown))
    for number, problem in enumerate(shown):
        report(problem, f"knowledge {number}")
