"""The ports of the core over a worker: what is asked of them crosses to it as values."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from exllama_guard.core.measures import FloatArray
from exllama_guard.core.snippets import Origin, Snippet
from exllama_guard.core.turns import Finish, TurnReport, TurnRequest
from exllama_guard.embedders import load_embedder
from exllama_guard.errors import EmbedderError, OutOfTime, ProcessLost, SourceError, VerifierError
from exllama_guard.settings import Settings
from exllama_guard.sources import Document, Gathered, collect_snippets
from exllama_guard.verifiers import load_verifier
from exllama_guard.worker.lanes import Lane, Need
from exllama_guard.worker.result import Work

__all__ = ["WorkerEmbedder", "WorkerTurn", "WorkerVerifier", "collecting", "document_reader"]

_TEXTS_AT_ONCE = 32  # in one piece of work: some seconds where they are long and the machine is slow


def _loaded(embedder: str = "", verifier: str = "", reader: str = "") -> Need:
    return Need("load_models", (embedder, verifier, reader))


class WorkerEmbedder:
    """The embedder of a settings value, in the worker. Thread-safe."""

    def __init__(
        self,
        work: Work,
        name: str,
        limit_s: float,
        lane: Lane = Lane.SCORE,
        question_wait_s: float | None = None,
    ) -> None:
        """Loads nothing before its first use; a piece of 32 texts may take `limit_s`.

        `question_wait_s` is how long who asks by `embed_question` waits at most; None: until it is done.
        """
        self._work, self._name, self._limit_s, self._lane = work, name, limit_s, lane
        self._question_wait_s = question_wait_s

    @property
    def id(self) -> str:
        """The model's name, without the folder it lies in."""
        return load_embedder(self._name).id

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Shape (n, d) float32; rows of length 1, or 0 for a text without content.

        Raises:
            EmbedderError: The model is missing or failed, or it took too long.
        """
        starts = range(0, max(1, len(texts)), _TEXTS_AT_ONCE)
        parts = [self._ask("embed", tuple(texts[at : at + _TEXTS_AT_ONCE]), self._lane) for at in starts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def embed_question(self, text: str) -> FloatArray:
        """Shape (d,): the vector of a text that a reply waits for; goes before everything that waits.

        Raises:
            EmbedderError: The model is missing or failed, or does not answer in time.
        """
        return self._ask("embed_question", text, Lane.QUESTION, self._question_wait_s)

    def _ask(self, task: str, asked: object, lane: Lane, patience_s: float | None = None) -> FloatArray:
        try:
            found: FloatArray = self._work.call(
                task,
                self._name,
                asked,
                limit_s=self._limit_s,
                lane=lane,
                needs=_loaded(self._name),
                patience_s=patience_s,
            ).value
        except (OutOfTime, ProcessLost) as error:
            raise EmbedderError(f"Nothing was embedded: {error}") from error
        return found


class WorkerVerifier:
    """The verifier of a settings value, in the worker. Thread-safe."""

    def __init__(self, work: Work, name: str, limit_s: float) -> None:
        """Loads nothing before its first use; a batch may take `limit_s`."""
        self._work, self._name, self._limit_s = work, name, limit_s

    @property
    def id(self) -> str:
        """Name that is stored with a verdict."""
        named = load_verifier(self._name)
        return self._name if named is None else named.id

    def entailment(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """Shape (n, 3): P(contradiction), P(neutral), P(entailment) of each (evidence, claim).

        Raises:
            VerifierError: The model is missing or failed, or it took too long.
        """
        try:
            found: FloatArray = self._work.call(
                "entail",
                self._name,
                tuple(pairs),
                limit_s=self._limit_s,
                needs=_loaded(verifier=self._name),
            ).value
        except (OutOfTime, ProcessLost) as error:
            raise VerifierError(f"The verifier was not used: {error}") from error
        return found


class WorkerTurn:
    """One turn, measured in the worker; see `TurnScorer`. A new process gets the turn again."""

    def __init__(
        self, work: Work, request: TurnRequest, settings: Settings, stop: threading.Event | None
    ) -> None:
        """Nothing is read before the first call; the prompt stays here."""
        self.worked_s = 0.0
        self._work, self._request, self._settings, self._stop = work, request, settings, stop
        self._opening = (replace(request, prompt="", system_prompt=""), settings)
        self._is_known = False

    def prepare(self, budget_s: float) -> bool:
        """Reads the snippets ahead; True once all is read."""
        return bool(self._ask("prepare", budget_s, knows=lambda found: found is not None))

    def score(self, reply: str, finish: Finish) -> TurnReport:
        """The report of the reply, whole or so far."""
        found = self._ask("score", reply, finish, knows=lambda found: found is not None)
        assert isinstance(found, TurnReport)  # noqa: S101 - what the task gives for a turn it knows
        return replace(found, request=self._request)

    def read(self, reply: str, finish: Finish) -> TurnReport | None:
        """The report once the reader has read the reply; None without one, or where it changes nothing.

        Raises:
            VerifierError: The reader is missing or failed; scores stay as they are.
        """
        found = self._ask("read", reply, finish, knows=lambda found: found[0])[1]
        return None if found is None else replace(found, request=self._request)

    def forget(self) -> None:
        """Lets go of what the process keeps."""
        if self._is_known:
            self._is_known = False
            self._work.tell("forget", self._request.turn_id)

    def _ask(self, task: str, *arguments: object, knows: Callable[[Any], bool]) -> Any:  # noqa: ANN401 - its value
        """What the task gives for this turn, which is told to a process that does not know it."""
        settings = self._settings
        reads = settings.reader if task == "read" else ""  # its weights are not waited for before
        for told in (self._is_known, False):
            done = self._work.call(
                task,
                self._request.turn_id,
                None if told else self._opening,
                *arguments,
                limit_s=settings.work_limit_s,
                needs=_loaded(settings.embedder, settings.verifier, reads),
                stop=self._stop,
            )
            self.worked_s = done.worked_s
            if knows(done.value):
                self._is_known = True
                return done.value
        raise ProcessLost("the process that checks answers does not know of the turn")


def collecting(work: Work, limit_s: float, gathered: Gathered) -> tuple[Snippet, ...]:
    """The snippets of a turn, found in the worker; what the knowledge folder knows of them is added here.

    Raises:
        OutOfTime, ProcessLost: It took too long, or the process that does it ended.
    """
    sent = {one.name: getattr(gathered, one.name) for one in fields(Gathered) if one.name != "lookup"}
    try:
        found: tuple[Snippet, ...] = work.call("collect", sent, limit_s=limit_s).value
    except TypeError:  # another extension put something into the history that is no text
        found = collect_snippets(gathered)
    return tuple(_known(snippet, gathered.lookup) for snippet in found)


def _known(snippet: Snippet, lookup: Callable[[str], Snippet | None]) -> Snippet:
    """What the folder knows of a snippet that stood in a marked block, under the id that it had there."""
    known = lookup(snippet.text) if snippet.origin is Origin.MARKED_BLOCK else None
    if known is None:
        return snippet
    return replace(known, snippet_id=snippet.snippet_id, origin=Origin.KNOWLEDGE)


def document_reader(work: Work, limit_s: float) -> Callable[[Path, str], Document]:
    """Reads documents in the worker; a page of a PDF, or a whole file of another kind, may take `limit_s`."""
    return partial(_read_document, work, limit_s)


def _read_document(work: Work, limit_s: float, path: Path, shown: str) -> Document:
    try:
        done = work.call("read_document", str(path), shown, limit_s=limit_s, lane=Lane.DOCUMENTS)
    except OutOfTime as error:
        raise SourceError(
            f"{shown} was left out: reading it {error}; split it, or raise the setting work_limit_s."
        ) from error
    except ProcessLost as error:
        raise SourceError(f"{shown} was left out: {error}; split it, or take it away.") from error
    return Document(*done.value)
