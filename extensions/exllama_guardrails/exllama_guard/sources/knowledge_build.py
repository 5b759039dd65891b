"""Takes a folder's documents into an index, a few texts at a time: it can be watched, stopped and resumed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from exllama_guard.core.measures import FloatArray
from exllama_guard.core.ports import Embedder
from exllama_guard.errors import SourceError
from exllama_guard.sources.knowledge_cache import VectorCache
from exllama_guard.sources.knowledge_document import Document
from exllama_guard.sources.knowledge_files import files_of
from exllama_guard.sources.knowledge_index import Index
from exllama_guard.sources.knowledge_scale import Scale, known_scale, measured_scale
from exllama_guard.sources.knowledge_text import SUFFIXES

__all__ = ["Builder", "KnowledgeStatus", "ReadDocument", "at_low_priority"]

ReadDocument: TypeAlias = Callable[[Path, str], Document]

_BATCH = 8  # texts between two looks at whether to stop
_GROWTH = 2.0  # what is searched is renewed when it has doubled: all renewals together take linear time
_SPARE = 200  # vectors of texts that are gone that a small folder may keep
_NICE = 10


@dataclass(frozen=True, slots=True)
class KnowledgeStatus:
    """What the panel shows: whether questions can be answered, how far the build is, what went wrong."""

    ready: bool = False
    building: bool = False
    files: int = 0  # that are searched
    snippets: int = 0  # that are searched
    done: int = 0  # files that the running build has taken in
    total: int = 0  # files that it is to take in
    left_s: float | None = None  # until it is through; None: not known yet
    problems: tuple[str, ...] = ()

    @property
    def progress(self) -> str:
        """The running build in a sentence; "" where none runs or nothing is known of it."""
        if not self.building or not self.total:
            return ""
        left = "" if self.left_s is None else f", about {_spoken(self.left_s)} left"
        return f"Indexing {min(self.done + 1, self.total)} of {self.total} files{left}."


@dataclass(frozen=True, slots=True)
class _File:
    """One file as it was when it had this time and size."""

    stamp: tuple[int, int]
    document: Document


@dataclass(frozen=True, slots=True)
class _Listed:
    path: Path
    shown: str
    stamp: tuple[int, int]


@dataclass(slots=True)
class _Run:
    """One build: what is still to be read, in bytes, and since when."""

    started_s: float
    left_bytes: int
    done_bytes: int = 0
    problems: list[str] = field(default_factory=list)


class Builder:
    """Keeps the documents of one folder and their vectors. For one thread; `stop` may be set by any."""

    def __init__(
        self,
        folder: Path,
        embedder: Embedder,
        read: ReadDocument,
        cache: VectorCache,
        *,
        tell: Callable[[KnowledgeStatus], None],
        publish: Callable[[Index], None],
    ) -> None:
        """`tell` gets each new status, `publish` each index that is larger or newer than the one before."""
        self._folder = folder
        self._embedder = embedder
        self._read = read
        self._cache = cache
        self._tell = tell
        self._publish = publish
        self._files: dict[str, _File] = {}
        self._refused: dict[str, tuple[tuple[int, int], SourceError]] = {}  # by name, with time and size
        self._vectors: dict[bytes, FloatArray] = {}
        self._loaded = False
        self._scale: Scale | None = None
        self._scaled = 0  # passages that it was measured on
        self._published: dict[str, _File] | None = None
        self._snippets = 0  # that are published
        self.stop = threading.Event()

    def run(self) -> None:
        """Takes in what is new, changed or gone.

        Raises:
            EmbedderError: The embedder failed; what was taken in before stays.
        """
        run = _Run(time.monotonic(), 0)
        listed = tuple(self._listed(run.problems))
        if not self._loaded:
            self._vectors, self._loaded = self._cache.load(), True
        names = {one.shown for one in listed}
        for gone in self._files.keys() - names:
            del self._files[gone]
        fresh = [one for one in listed if not self._is_known(one)]
        run.left_bytes = sum(one.stamp[1] for one in fresh)
        for number, one in enumerate(fresh):
            if self.stop.is_set():
                return
            self._tell(self._status(run, building=True, done=number, total=len(fresh)))
            self._take(one, run)
            if self._count() >= _GROWTH * max(self._snippets, 1):
                self._renew(one.shown for one in listed)
        run.problems += [
            problem
            for one in listed
            if one.shown in self._files
            for problem in self._files[one.shown].document.problems
        ]
        run.problems += [str(self._refused[one.shown][1]) for one in listed if one.shown in self._refused]
        if self._published is None or self._files != self._published:
            self._renew(one.shown for one in listed)
            self._tidy(run.problems)
        if not listed and not run.problems:
            run.problems.append(
                f"The knowledge folder '{self._folder.name}' holds no .md, .rst, .txt or .pdf file; "
                "put some there."
            )
        self._tell(self._status(run, building=False))

    def _listed(self, problems: list[str]) -> Iterator[_Listed]:
        """The readable files in order of their names, those behind links last."""
        if not self._folder.is_dir():
            problems.append(
                f"The knowledge folder '{self._folder.name}' is not there; "
                "check the setting knowledge_folder."
            )
            return
        for path in files_of(self._folder, SUFFIXES, problems.append):
            shown = path.relative_to(self._folder).as_posix()
            try:
                found = path.stat()
            except OSError as error:
                problems.append(f"{shown} cannot be read ({error.strerror or error}); check its permissions.")
                continue
            yield _Listed(path, shown, (found.st_mtime_ns, found.st_size))

    def _is_known(self, one: _Listed) -> bool:
        """Whether the file is as it was when it was read or refused."""
        known, refused = self._files.get(one.shown), self._refused.get(one.shown)
        return (known is not None and known.stamp == one.stamp) or (
            refused is not None and refused[0] == one.stamp
        )

    def _take(self, one: _Listed, run: _Run) -> None:
        """Reads and embeds one file; one that cannot be read is not tried again before it changes."""
        self._refused.pop(one.shown, None)
        try:
            document = self._read(one.path, one.shown)
        except SourceError as error:
            self._files.pop(one.shown, None)
            self._refused[one.shown] = (one.stamp, error)
            run.left_bytes -= one.stamp[1]
            return
        if self._embed(document, run):
            run.done_bytes += one.stamp[1]
        run.left_bytes -= one.stamp[1]
        if not self.stop.is_set():
            self._files[one.shown] = _File(one.stamp, document)

    def _embed(self, document: Document, run: _Run) -> bool:
        """Makes and keeps the vectors that are not there yet; False where all were."""
        pending = [text for text in document.embedded_texts if VectorCache.key(text) not in self._vectors]
        for at in range(0, len(pending), _BATCH):
            if self.stop.is_set():
                break
            self._make(pending[at : at + _BATCH], run.problems)
        return bool(pending)

    def _make(self, texts: Sequence[str], problems: list[str]) -> None:
        """Embeds texts and keeps their vectors, in memory and on disk."""
        made = {
            VectorCache.key(text): row for text, row in zip(texts, self._embedder.embed(texts), strict=True)
        }
        self._vectors.update(made)
        try:
            self._cache.append(made)
        except SourceError as error:  # the index works all the same
            if str(error) not in problems:
                problems.append(str(error))

    def _of(self, texts: Sequence[str]) -> FloatArray:
        """The vectors of a few texts, shape (texts, d); those that are not there are made."""
        pending = [text for text in texts if VectorCache.key(text) not in self._vectors]
        if pending:
            self._make(pending, [])
        return np.stack([self._vectors[VectorCache.key(text)] for text in texts])

    def _count(self) -> int:
        return sum(len(file.document.snippets) for file in self._files.values())

    def _renew(self, order: Iterable[str]) -> None:
        """Publishes an index of all documents that are there, in the order of their names."""
        files = [self._files[name] for name in order if name in self._files]
        documents = [file.document for file in files]
        texts = [text for document in documents for text in document.embedded_texts]
        rows = [self._vectors[VectorCache.key(text)] for text in texts]
        snippets = tuple(snippet for document in documents for snippet in document.snippets)
        if self._published is None and texts:
            self._embedder.embed([texts[0]])  # loads it here: a question would wait for it
        stacked = np.stack(rows) if rows else np.zeros((0, 0), dtype=np.float32)
        scale = self._scale_over(texts, stacked)
        self._publish(Index.of(self._embedder.id, snippets, stacked, texts, scale))
        self._published, self._snippets = dict(self._files), len(snippets)

    def _scale_over(self, texts: Sequence[str], vectors: FloatArray) -> Scale:
        """Where the embedder's cosines lie: as measured with the weights, else in this folder."""
        known = known_scale(self._embedder.id)
        if known is not None or not texts:
            return known or Scale(0.0, 1.0)
        if self._scale is None or len(texts) >= _GROWTH * self._scaled:
            self._scale, self._scaled = measured_scale(self._of, texts, vectors), len(texts)
        return self._scale

    def _tidy(self, problems: list[str]) -> None:
        """Lets go of vectors whose texts are gone, in memory and, where they are many, on disk."""
        used = {
            VectorCache.key(text) for file in self._files.values() for text in file.document.embedded_texts
        }
        if len(self._vectors) <= 2 * len(used) + _SPARE:
            return
        self._vectors = {key: vector for key, vector in self._vectors.items() if key in used}
        try:
            self._cache.save(self._vectors)
        except SourceError as error:
            problems.append(str(error))

    def _status(self, run: _Run, *, building: bool, done: int = 0, total: int = 0) -> KnowledgeStatus:
        published: Mapping[str, _File] = self._published or {}
        status = KnowledgeStatus(
            ready=self._published is not None,
            building=building,
            files=sum(1 for file in published.values() if file.document.snippets),
            snippets=self._snippets,
            done=done,
            total=total,
            problems=tuple(run.problems),
        )
        if not building or not run.done_bytes:
            return status
        spent_s = time.monotonic() - run.started_s
        return replace(status, left_s=spent_s * run.left_bytes / run.done_bytes)


def at_low_priority() -> None:
    """Lets everything else on the machine go before this thread, where the system can do that for one."""
    if hasattr(os, "setpriority") and hasattr(os, "PRIO_PROCESS") and os.uname().sysname == "Linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)  # a thread's own on Linux


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} seconds"
    return f"{round(seconds / 60)} minutes"
