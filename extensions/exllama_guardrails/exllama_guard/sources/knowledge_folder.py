"""A folder of .md, .txt and .pdf files as a retriever: split, embedded, searched by cosine similarity."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from exllama_guard.core.folders import user_cache_folder
from exllama_guard.core.measures import FloatArray
from exllama_guard.core.ports import Embedder, QuestionEmbedder
from exllama_guard.core.snippets import Snippet
from exllama_guard.errors import EmbedderError, SourceError
from exllama_guard.sources.knowledge_cache import VectorCache
from exllama_guard.sources.knowledge_document import Document, read_document
from exllama_guard.sources.knowledge_files import files_of
from exllama_guard.sources.knowledge_index import Index
from exllama_guard.sources.knowledge_split import CHUNK_SCHEMA, Splitter, sentence_spans
from exllama_guard.sources.knowledge_text import SUFFIXES

__all__ = ["KnowledgeFolder", "KnowledgeStatus"]

ReadDocument: TypeAlias = Callable[[Path, str], Document]

_BATCH = 32
_RECHECK_S = 2.0


@dataclass(frozen=True, slots=True)
class KnowledgeStatus:
    """What the panel shows: whether questions can be answered, how far the build is, what went wrong."""

    ready: bool = False
    building: bool = False
    files: int = 0
    snippets: int = 0
    done: int = 0  # snippets embedded in the running build
    total: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    """One file as it was when it had this time and size."""

    stamp: tuple[int, int]
    document: Document


class KnowledgeFolder:
    """Retriever over one folder. Thread-safe.

    The first build starts with `build` or the first question; a question waits for it up to
    `first_build_wait_s`. Later changes of files are picked up in the background, one build at a time.
    The lock protects the status, the current index and the running build's thread.
    """

    def __init__(
        self,
        folder: Path | str,
        embedder: Embedder,
        *,
        cache_folder: Path | None = None,
        splitter: Splitter = sentence_spans,
        read: ReadDocument | None = None,
        on_progress: Callable[[KnowledgeStatus], None] | None = None,
        first_build_wait_s: float = 60.0,
    ) -> None:
        """Remembers what to index; nothing is read before `build`, `refresh` or `retrieve`.

        `read` gives the document at a path, which messages call by the second argument; None: read here.
        """
        self._folder = Path(folder).expanduser().resolve()
        self._embedder = embedder
        self._read = read or partial(read_document, splitter=splitter)
        self._on_progress = on_progress
        self._first_build_wait_s = first_build_wait_s
        self._cache = VectorCache(
            cache_folder or user_cache_folder() / "knowledge",
            f"{embedder.id}\0{CHUNK_SCHEMA}\0{self._folder}",
        )
        self._lock = threading.Lock()
        self._building = threading.Lock()  # held for a whole build: one at a time
        self._built = threading.Event()
        self._thread: threading.Thread | None = None
        self._files: dict[str, _File] = {}
        self._refused: dict[str, tuple[tuple[int, int], SourceError]] = {}  # by name, with time and size
        self._index: Index | None = None
        self._status = KnowledgeStatus()
        self._checked_at_s = float("-inf")
        self._retry = True

    @property
    def status(self) -> KnowledgeStatus:
        """How far the index is, with its problems."""
        with self._lock:
            return self._status

    @property
    def index_hash(self) -> str:
        """`sha256:` hash of embedder, splitting and texts; "" before the first build."""
        with self._lock:
            return self._index.index_hash if self._index else ""

    @property
    def vectors_hash(self) -> str:
        """`sha256:` hash of the vectors, rounded to 1e-5; "" before the first build."""
        with self._lock:
            return self._index.vectors_hash if self._index else ""

    def build(self) -> None:
        """Starts a build in the background unless one is running."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._thread = threading.Thread(
                target=self._refresh_or_report, name="knowledge-folder", daemon=True
            )
            thread = self._thread
        thread.start()

    def refresh(self) -> KnowledgeStatus:
        """The status after files that are new, changed or gone have been taken in; waits for the build."""
        with self._building:
            self._report(replace(self.status, building=True, done=0, total=0))
            files, problems = self._read_files()
            if self._index is None or self._retry or files != self._files:
                problems += self._embed(files)
            counted = sum(1 for file in files.values() if file.document.snippets)
            index = self._index
            self._report(
                KnowledgeStatus(
                    ready=index is not None,
                    files=counted,
                    snippets=len(index.snippets) if index else 0,
                    problems=tuple(problems),
                )
            )
            self._built.set()
            return self.status

    def _refresh_or_report(self) -> None:
        """`refresh` on a thread of its own: a fault is told, and Python logs it with its traceback."""
        try:
            self.refresh()
        finally:
            fault = sys.exc_info()[1]
            if fault is not None:
                self._built.set()  # nobody waits for a build that has ended
                reported = (
                    f"The knowledge folder could not be read because of a fault ({type(fault).__name__}); "
                    "answers go on with what was indexed before. Please report it with the log's lines on it."
                )
                self._report(replace(self.status, building=False, problems=(reported,)))

    def retrieve(self, question: str, k: int) -> tuple[Snippet, ...]:
        """At most `k` snippets as s1, s2, ... nearest first; none for a blank question or without an index.

        Raises:
            EmbedderError: The embedder is missing or failed.
        """
        if not question.strip() or k < 1:
            return ()
        self._recheck()
        self._built.wait(self._first_build_wait_s)
        with self._lock:
            index = self._index
        if index is None or not index.snippets:
            return ()
        embedder = self._embedder
        if isinstance(embedder, QuestionEmbedder):
            vector = embedder.embed_question(question)
        else:
            vector = embedder.embed([question])[0]
        if not vector.any():
            return ()
        return tuple(
            replace(
                index.snippets[row],
                snippet_id=f"s{rank}",
                score=similarity,
                index_hash=index.index_hash,
                analyzer=self._embedder.id,
            )
            for rank, (row, similarity) in enumerate(index.nearest(vector, k), start=1)
        )

    def lookup(self, text: str) -> Snippet | None:
        """The indexed snippet with exactly this text; None where there is none."""
        with self._lock:
            index = self._index
        found = index.by_text.get(text) if index else None
        return replace(found, index_hash=index.index_hash) if index and found else None

    def _recheck(self) -> None:
        now_s = time.monotonic()
        with self._lock:
            due = now_s - self._checked_at_s >= _RECHECK_S
            if due:
                self._checked_at_s = now_s
        if due:
            self.build()

    def _report(self, status: KnowledgeStatus) -> None:
        with self._lock:
            self._status = status
        if self._on_progress is not None:
            self._on_progress(status)

    def _read_files(self) -> tuple[dict[str, _File], list[str]]:
        files: dict[str, _File] = {}
        problems: list[str] = []
        for path in self._paths(problems):
            shown = path.relative_to(self._folder).as_posix()
            try:
                stat = path.stat()
                stamp = (stat.st_mtime_ns, stat.st_size)
                known = self._files.get(shown)
                file = known if known and known.stamp == stamp else self._read_file(path, shown, stamp)
            except SourceError as error:
                problems.append(str(error))
                continue
            except OSError as error:
                problems.append(f"{shown} cannot be read ({error.strerror or error}); check its permissions.")
                continue
            files[shown] = file
            problems.extend(file.document.problems)
        if not files and not problems:
            problems.append(
                f"The knowledge folder '{self._folder.name}' holds no .md, .txt or .pdf file; put some there."
            )
        return files, problems

    def _paths(self, problems: list[str]) -> Iterator[Path]:
        """Readable files in order of their names, those behind links last."""
        if not self._folder.is_dir():
            problems.append(
                f"The knowledge folder '{self._folder.name}' is not there; "
                "check the setting knowledge_folder."
            )
            return
        yield from files_of(self._folder, SUFFIXES, problems.append)

    def _read_file(self, path: Path, shown: str, stamp: tuple[int, int]) -> _File:
        """The file as it is now; one that could not be read is not tried again before it changes."""
        refused = self._refused.get(shown)
        if refused is not None and refused[0] == stamp:
            raise refused[1]
        try:
            return _File(stamp, self._read(path, shown))
        except SourceError as error:
            self._refused[shown] = (stamp, error)
            raise

    def _embed(self, files: dict[str, _File]) -> list[str]:
        """Makes `files` the index; returns problems. The index stays as it was when the embedder fails."""
        texts = {
            VectorCache.key(text): text for file in files.values() for text in file.document.embedded_texts
        }
        known = self._cache.load()
        try:
            vectors = self._vectors_of(texts, known)
        except EmbedderError as error:
            self._retry = True
            return [str(error)]
        problems: list[str] = []
        if vectors.keys() != known.keys():
            try:
                self._cache.save(vectors)
            except SourceError as error:
                problems.append(str(error))  # the index works all the same
        keys = [VectorCache.key(text) for file in files.values() for text in file.document.embedded_texts]
        rows = np.stack([vectors[key] for key in keys]) if keys else np.zeros((0, 0), dtype=np.float32)
        snippets = tuple(snippet for file in files.values() for snippet in file.document.snippets)
        index = Index.of(self._embedder.id, snippets, rows)
        with self._lock:
            self._index = index
        self._files, self._retry = files, False
        return problems

    def _vectors_of(
        self, texts: dict[bytes, str], known: Mapping[bytes, FloatArray]
    ) -> dict[bytes, FloatArray]:
        """The vector of each text by its key, the unknown ones embedded in batches."""
        vectors = {key: known[key] for key in texts if key in known}
        pending = [key for key in texts if key not in known]
        for at in range(0, len(pending), _BATCH):
            self._report(replace(self.status, done=len(vectors), total=len(texts)))
            part = pending[at : at + _BATCH]
            rows = self._embedder.embed([texts[key] for key in part])
            vectors.update(zip(part, rows, strict=True))
        if self._index is None and texts and not pending:
            self._embedder.embed([next(iter(texts.values()))])  # loads it here: a question would wait for it
        return vectors
