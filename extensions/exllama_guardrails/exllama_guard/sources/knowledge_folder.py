"""A folder of documents as a retriever: split, embedded, searched by meaning and by words."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from exllama_guard.core.folders import user_cache_folder
from exllama_guard.core.measures import FloatArray, NotScored, Reason
from exllama_guard.core.ports import Embedder, Found, QuestionEmbedder
from exllama_guard.core.snippets import Snippet
from exllama_guard.errors import EmbedderError
from exllama_guard.grounding import asked_together, talk_of
from exllama_guard.sources.knowledge_build import Builder, KnowledgeStatus, ReadDocument, at_low_priority
from exllama_guard.sources.knowledge_cache import VectorCache
from exllama_guard.sources.knowledge_document import read_document
from exllama_guard.sources.knowledge_index import Index
from exllama_guard.sources.knowledge_search import Asked, Passage, ranked, that_help
from exllama_guard.sources.knowledge_split import CHUNK_SCHEMA, Splitter, sentence_spans

__all__ = ["KnowledgeFolder", "KnowledgeStatus"]

_RECHECK_S = 2.0


class KnowledgeFolder:
    """Retriever over one folder. Thread-safe.

    The first build starts with `build` or the first question; a question waits for it up to
    `first_build_wait_s`, and is answered from what is indexed by then. Later changes of files are picked up
    in the background, one build at a time. The lock protects the status, the current index and the running
    build's thread.
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
        place = Path(folder).expanduser().resolve()
        self._embedder = embedder
        self._on_progress = on_progress
        self._first_build_wait_s = first_build_wait_s
        self._builder = Builder(
            place,
            embedder,
            read or partial(read_document, splitter=splitter),
            VectorCache(
                cache_folder or user_cache_folder() / "knowledge", f"{embedder.id}\0{CHUNK_SCHEMA}\0{place}"
            ),
            tell=self._report,
            publish=self._publish,
        )
        self._lock = threading.Lock()
        self._building = threading.Lock()  # held for a whole build: one at a time
        self._built = threading.Event()
        self._thread: threading.Thread | None = None
        self._index: Index | None = None
        self._status = KnowledgeStatus()
        self._checked_at_s = float("-inf")

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
        """Starts a build in the background unless one is running or the folder is closed."""
        with self._lock:
            if self._builder.stop.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(
                target=self._refresh_or_report, name="knowledge-folder", daemon=True
            )
            thread = self._thread
        thread.start()

    def refresh(self) -> KnowledgeStatus:
        """The status after files that are new, changed or gone have been taken in; waits for the build."""
        with self._building:
            self._report(replace(self.status, building=True, done=0, total=0, left_s=None))
            try:
                self._builder.run()
            except EmbedderError as error:
                self._report(replace(self.status, building=False, problems=(str(error),)))
            if self._builder.stop.is_set():
                self._report(replace(self.status, building=False))
            self._built.set()
            return self.status

    def close(self) -> None:
        """Ends a running build after the texts that are in work; what is indexed can still be searched."""
        self._builder.stop.set()

    def _refresh_or_report(self) -> None:
        """`refresh` on a thread of its own: a fault is told, and Python logs it with its traceback."""
        at_low_priority()
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
        """At most `k` snippets as s1, s2, ... best first; none for a blank question or without an index.

        Raises:
            EmbedderError: The embedder is missing or failed.
        """
        index = self._ready()
        if index is None or not question.strip() or k < 1:
            return ()
        return self._snippets(index, self._ranked(index, question, question, k))

    def search(self, question: str, earlier: Sequence[str], k: int) -> Found:
        """At most `k` snippets that bear on the question, best first; else why there are none.

        Raises:
            EmbedderError: The embedder is missing or failed.
        """
        index = self._ready()
        if not question.strip() or k < 1:
            return Found()
        found: Sequence[Passage] = ()
        if index is not None:
            together = asked_together(question, earlier)
            talk = talk_of(question, earlier[-1] if earlier else "")
            found = that_help(self._ranked(index, question, together, k), talk, index.scale)
        if index is not None and found:
            return Found(self._snippets(index, found))
        progress = self.status.progress  # "" while only the folder's names are looked through
        if index is None or progress:
            waits = progress or "The documents are still being read."
            return Found(nothing=NotScored(Reason.INDEXING, waits))
        return Found(nothing=NotScored(Reason.UNRELATED) if index.snippets else None)

    def lookup(self, text: str) -> Snippet | None:
        """The indexed snippet with exactly this text; None where there is none."""
        with self._lock:
            index = self._index
        found = index.by_text.get(text) if index else None
        return replace(found, index_hash=index.index_hash) if index and found else None

    def _ready(self) -> Index | None:
        """The index to search, after a look whether the folder has changed; None where there is none yet."""
        self._recheck()
        self._built.wait(self._first_build_wait_s)
        with self._lock:
            return self._index

    def _ranked(self, index: Index, question: str, together: str, k: int) -> tuple[Passage, ...]:
        vectors = self._vectors(dict.fromkeys((question, together)))
        return ranked(index, Asked(vectors, together), k) if index.snippets else ()

    def _vectors(self, texts: Sequence[str] | dict[str, None]) -> FloatArray:
        """The vectors of what is asked, shape (texts, d); a build that runs is not waited for."""
        if isinstance(self._embedder, QuestionEmbedder):
            return np.stack([self._embedder.embed_question(text) for text in texts])
        return self._embedder.embed(list(texts))

    def _snippets(self, index: Index, found: Sequence[Passage]) -> tuple[Snippet, ...]:
        return tuple(
            replace(
                index.snippets[passage.row],
                snippet_id=f"s{rank}",
                score=passage.cosine,
                index_hash=index.index_hash,
                analyzer=self._embedder.id,
            )
            for rank, passage in enumerate(found, start=1)
        )

    def _recheck(self) -> None:
        now_s = time.monotonic()
        with self._lock:
            due = now_s - self._checked_at_s >= _RECHECK_S
            if due:
                self._checked_at_s = now_s
        if due:
            self.build()

    def _publish(self, index: Index) -> None:
        with self._lock:
            self._index = index

    def _report(self, status: KnowledgeStatus) -> None:
        with self._lock:
            self._status = status
        if self._on_progress is not None:
            self._on_progress(status)
