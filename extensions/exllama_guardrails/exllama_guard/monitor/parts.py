"""What a monitor works with: the settings in force and the parts made from them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from exllama_guard.core.ports import (
    AnswerReader,
    Embedder,
    Retriever,
    SupportScorer,
    TraceSink,
    TurnScorer,
    Verifier,
)
from exllama_guard.core.snippets import Snippet
from exllama_guard.core.turns import TurnRequest
from exllama_guard.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """What a monitor works with, made from settings; None where a part is off."""

    embedder: Embedder | None
    verifier: Verifier | None
    trace: TraceSink | None
    knowledge: Retriever | None
    reader: AnswerReader | None = None


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


class MakeTurn(Protocol):
    """Makes what measures one turn."""

    def __call__(
        self, request: TurnRequest, parts: Parts, settings: Settings, stop: threading.Event | None
    ) -> TurnScorer:
        """For a request with its snippets; whatever it does raises `Stopped` once `stop` is set."""
        ...


class ReportProblem(Protocol):
    """Shows one sentence in the panel."""

    def __call__(self, sentence: str | None, key: str) -> None:
        """Shows `sentence`; a second one with the same `key` replaces the first, None takes it back."""
        ...


class Outfit:
    """The settings in force and the parts made from them. `lock` (the monitor's) protects both."""

    def __init__(
        self, settings: Settings, make_parts: MakeParts, report_problem: ReportProblem, lock: threading.RLock
    ) -> None:
        """Nothing heavy happens before the first use of the parts."""
        self.settings = settings
        self._make_parts = make_parts
        self._report_problem = report_problem
        self._lock = lock
        self._parts: Parts | None = None

    def ready(self) -> Parts:
        """The parts, made on first use."""
        with self._lock:
            if self._parts is None:
                self._parts = self._make_parts(self.settings, None, self._report_problem)
            return self._parts

    def take(self, settings: Settings) -> bool:
        """Works with `settings` from now on; True where parts that exist are to be remade."""
        with self._lock:
            remake = self._parts is not None and settings != self.settings
            self.settings = settings
            return remake

    def switch(self, enabled: bool) -> None:
        """Sets only whether turns are measured."""
        with self._lock:
            self.settings = replace(self.settings, enabled=enabled)

    def remake(self) -> None:
        """Makes the parts anew where their settings changed; on the worker's thread."""
        parts = self._make_parts(self.settings, self._parts, self._report_problem)
        with self._lock:
            self._parts = parts

    @property
    def embedder_id(self) -> str:
        """The embedder's name, "none" while there is none."""
        if self._parts is None or self._parts.embedder is None:
            return "none"
        return self._parts.embedder.id
