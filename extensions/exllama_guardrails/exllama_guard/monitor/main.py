"""The monitor: what the host's adapter hands turns to, and what a panel asks.

`open_turn`, `chunk` and `close` only hand over values: they take microseconds and never raise on purpose.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeout  # the built-in one only since Python 3.11

from exllama_guard.core.measures import FloatArray
from exllama_guard.core.ports import LaterReading, Retriever, Verifier
from exllama_guard.core.snippets import Snippet, make_snippet
from exllama_guard.core.turns import Channel, Finish, ModelInfo, Reader, TurnReport, TurnRequest
from exllama_guard.errors import EmbedderError, ScoringError, Stopped
from exllama_guard.monitor.memory import Memory, Snapshot
from exllama_guard.monitor.parts import MakeParts, MakeScorer, Outfit
from exllama_guard.monitor.scoring import ScoringWorker
from exllama_guard.monitor.stopping import stopping
from exllama_guard.monitor.turn import TurnHandle
from exllama_guard.settings import Settings, changed

log = logging.getLogger(__name__)


class Monitor:
    """Holds the open turns, the worker that scores them, and what the panel shows. Thread-safe.

    One lock protects the remembered turns, problems, events and the queue; it is never held while scoring
    or while calling the host.
    """

    def __init__(self, settings: Settings, *, make_parts: MakeParts, make_scorer: MakeScorer) -> None:
        """Starts with `settings`; nothing heavy happens before the first turn."""
        self._lock = threading.RLock()
        self._memory = Memory(self._lock)
        self._outfit = Outfit(settings, make_parts, self._memory.report_problem, self._lock)
        self._worker = ScoringWorker(self._outfit, self._memory, make_scorer, self._lock)
        self.multi_user = False

    # --- what the host's adapter calls ------------------------------------------------------------------

    def open_turn(
        self, request: TurnRequest, collect: Callable[[], tuple[Snippet, ...]] | None = None
    ) -> TurnHandle:
        """A handle for the reply that starts now; `collect` adds snippets later, off the reply's path."""
        handle = TurnHandle(self._worker, request, collect)
        if not self.settings.enabled:
            handle.closed = True
            handle.due_at_s = float("inf")
            return handle
        self._worker.open(handle)
        return handle

    def model_changed(self, model: ModelInfo | None, capabilities: Sequence[str] = ()) -> None:
        """Notes which model is loaded now and, in plain sentences, what its loader allows."""
        self._memory.model_changed(model, capabilities)

    def report_problem(self, sentence: str | None, key: str) -> None:
        """Shows one sentence in the panel; the same `key` shows once, with its newest; None takes it back."""
        self._memory.report_problem(sentence, key)

    def clear_problem(self, key: str) -> None:
        """Takes a sentence back, because what it told of works again."""
        self._memory.clear_problem(key)

    def record_event(self, kind: str, text: str) -> None:
        """Adds an event (model load, rotation, switch) to the panel's list."""
        self._memory.add_event(kind, text)

    def read_later(self, later: LaterReading | None) -> None:
        """Who may take finished turns to be read again later; None: nobody."""
        self._worker.later = later

    def give_back(self, report: TurnReport) -> None:
        """A turn that was taken to be read later: its verdict is shown, its trace written."""
        try:
            self._worker.start(self._worker.settle, report)
        except RuntimeError:  # the interpreter ends, and with it the worker: nobody else writes traces now
            self._worker.settle(report)

    # --- what the panel calls ---------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._outfit.settings

    @property
    def model(self) -> ModelInfo | None:
        """The model that is loaded now, or None."""
        return self._memory.model

    @property
    def enabled(self) -> bool:
        """Whether turns are measured."""
        return self.settings.enabled

    @property
    def version(self) -> int:
        """A number that rises with every change of what a panel shows."""
        return self._memory.version

    def set_enabled(self, enabled: bool) -> None:
        """Switches measuring on or off; the chat goes on either way."""
        if enabled != self.settings.enabled:
            with self._lock:
                self._outfit.switch(enabled)
                self._worker.drop_open()
                said = "Guardrails switched on." if enabled else "Guardrails switched off."
                self._memory.add_event("switch", said)

    def change_settings(self, **values: object) -> tuple[str, ...]:
        """Takes new values; gives one sentence for each that was not usable, whose old value stays."""
        settings, problems = changed(self.settings, values)
        self.replace_settings(settings)
        return problems

    def replace_settings(self, settings: Settings) -> None:
        """Works with `settings` from the next turn on; parts are remade where they changed."""
        remake = self._outfit.take(settings)
        self._memory.touch()
        if remake:
            self._worker.start(self._remake_parts)

    def reader_for(self, username: str | None, session: str | None) -> Reader:
        """Who someone is: on a host with logins or several users a private reader, else everyone."""
        if username:
            return Reader(username=username)
        return Reader(session=session) if self.multi_user else Reader()

    def snapshot(self, reader: Reader | None = None) -> Snapshot:
        """What `reader` may see; None (the command line) sees everything. No work beyond copying."""
        with self._lock:
            turns = self._memory.turns(reader, self.settings.turns_kept)
            return Snapshot(
                version=self._memory.version,
                enabled=self.settings.enabled,
                live=self._worker.live(reader),
                coming=self._worker.coming(reader, turns[0].request if turns else None),
                doing=self._worker.doing(reader),
                turns=turns,
                problems=self._memory.problems(reader),
                events=self._memory.events,
                model=self._memory.model,
                capabilities=self._memory.capabilities,
                embedder=self._outfit.embedder_id,
                waiting=self._worker.waiting,
                shed=self._worker.shed,
            )

    def check_pasted(
        self,
        question: str,
        snippet_texts: Sequence[str],
        answer: str,
        reader: Reader | None = None,
        stop: threading.Event | None = None,
    ) -> TurnReport:
        """The report of a question, snippets and an answer that somebody pasted; needs no model.

        Raises:
            Stopped: `stop` was set meanwhile.
        """
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
        return self.measure(request, answer, stop)

    def measure(self, request: TurnRequest, answer: str, stop: threading.Event | None = None) -> TurnReport:
        """The report of a whole answer at once; waits for it, keeps and traces nothing.

        Raises:
            ScoringError: A fault of ours; it is logged with its traceback.
            Stopped: `stop` was set meanwhile.
        """
        handle = TurnHandle(self._worker, request, None)
        parts = None if stop is None else stopping(self._outfit.ready(), stop)
        job = self._worker.submit(self._worker.report, handle, answer, Finish.COMPLETE, parts)
        fault = job.exception()
        if isinstance(fault, Stopped):
            raise fault
        if fault is not None:
            log.error("scoring failed", exc_info=fault)
            raise ScoringError(
                f"This answer could not be checked ({type(fault).__name__}: {fault}); please report it."
            ) from fault
        return job.result()

    @property
    def knowledge(self) -> Retriever | None:
        """The knowledge folder's retriever, or None where no folder is set or its index is not ready."""
        return self._outfit.ready().knowledge if self.settings.knowledge_folder else None

    @property
    def verifier(self) -> Verifier | None:
        """The verifier in use, or None where none is set."""
        return self._outfit.ready().verifier

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors by the embedder in use, shape (texts, dimensions); answers are checked in between.

        Raises:
            EmbedderError: There is no embedder, or it failed.
        """
        return self._worker.submit(self._embed, texts).result()

    def warm(self) -> None:
        """Starts to load the embedder in the background, so that the first answer does not wait for it."""
        self._worker.start(self._warm_embedder)

    def wait_until_idle(self, timeout_s: float = 60.0) -> bool:
        """True once everything that was handed over before is scored; False when the time ran out."""
        done = self._worker.submit(lambda: None)
        try:
            done.result(timeout_s)
        except FutureTimeout:
            return False
        return True

    # --- inside, on the worker's thread -----------------------------------------------------------------

    def _embed(self, texts: Sequence[str]) -> FloatArray:
        embedder = self._outfit.ready().embedder
        if embedder is None:
            raise EmbedderError("There is no embedder; set one and reload.")
        return embedder.embed(texts)

    def _remake_parts(self) -> None:
        self._outfit.remake()
        self._memory.touch()

    def _warm_embedder(self) -> None:
        embedder = self._outfit.ready().embedder
        if embedder is not None:
            embedder.embed(["warm-up"])
