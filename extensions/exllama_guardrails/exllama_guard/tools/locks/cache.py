"""Compiled locks by schema and tokenizer, compiled on one background thread, dropped on a model switch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass

from exllama_guard.errors import SchemaError
from exllama_guard.tools.locks.compiled import CompiledLock, LockPlan, compile_plan
from exllama_guard.tools.locks.vocabulary import Vocabulary

__all__ = ["LockCache", "Outcome"]

# A lock of 20 tools holds about 1 MB; more sets of tools than this are not in use at once.
MAX_LOCKS = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """A compiled lock, or the reason why there is none."""

    lock: CompiledLock | None
    reason: str = ""


class LockCache:
    """Thread-safe: `_guard` protects the tables. One worker thread compiles, first come first served."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._worker: ThreadPoolExecutor | None = None
        self._vocabularies: dict[str, Future[Vocabulary]] = {}
        self._locks: OrderedDict[tuple[str, str], Future[Outcome]] = OrderedDict()
        self._by_hash: dict[tuple[str, str], Outcome] = {}

    def start(self, plan: LockPlan, model: str, load: Callable[[], Vocabulary]) -> Future[Outcome]:
        """Begins to compile `plan` for `model` unless that is under way or done; returns at once.

        Args:
            plan: What to lock.
            model: Key of the loaded model; `load` is called once for it.
            load: Reads the model's vocabulary; runs on the worker thread.
        """
        key = (plan.key, model)
        with self._guard:
            if key in self._locks:
                self._locks.move_to_end(key)
                return self._locks[key]
            worker = self._running()
            if model not in self._vocabularies:
                self._vocabularies[model] = worker.submit(load)
            words = self._vocabularies[model]
            future = worker.submit(self._compile, plan, words)
            self._locks[key] = future
            while len(self._locks) > MAX_LOCKS:
                self._locks.popitem(last=False)
            return future

    def prepare(self, model: str, load: Callable[[], Vocabulary]) -> None:
        """Begins to read a model's vocabulary, so that the first tool turn does not wait for it."""
        with self._guard:
            if model not in self._vocabularies:
                self._vocabularies[model] = self._running().submit(load)

    def get(self, plan: LockPlan, model: str, load: Callable[[], Vocabulary], *, timeout_s: float) -> Outcome:
        """The compiled lock, waiting `timeout_s` at most; without one, an outcome that says why."""
        try:
            return self.start(plan, model, load).result(timeout=timeout_s)
        except FutureTimeout:
            return Outcome(
                None, f"The grammar was not ready after {timeout_s:.1f} s; it will be for the next reply."
            )

    def drop(self) -> None:
        """Forgets every vocabulary and lock: the model has changed."""
        with self._guard:
            self._vocabularies.clear()
            self._locks.clear()
            self._by_hash.clear()

    def close(self) -> None:
        """Ends the worker thread; a later `start` makes a new one."""
        self.drop()
        with self._guard:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown(wait=False, cancel_futures=True)

    def _running(self) -> ThreadPoolExecutor:
        if self._worker is None:
            self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="guardrails-lock")
        return self._worker

    def _compile(self, plan: LockPlan, words: Future[Vocabulary]) -> Outcome:
        """Runs on the worker, after `words` (submitted before): equal tokenizers share one lock."""
        try:
            vocabulary = words.result()
            shared = (plan.key, vocabulary.tokenizer_hash)
            known = self._by_hash.get(shared)
            if known is None:
                lock = compile_plan(plan, vocabulary)
                known = Outcome(lock)
                self._by_hash[shared] = known
        except SchemaError as error:
            return Outcome(None, str(error))
        return known
