"""What the process of its own can do. Arguments and results are values (`values.py`), texts in, measures out.

The models that were loaded and the turns that are under way stay here; the lock protects the models.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from exllama_guard.core.measures import FloatArray
from exllama_guard.core.ports import AnswerReader, Embedder, QuestionEmbedder, SupportScorer, Verifier
from exllama_guard.core.snippets import Snippet, make_snippet
from exllama_guard.core.turns import Finish, TurnReport, TurnRequest
from exllama_guard.embedders import load_embedder
from exllama_guard.errors import EmbedderError, VerifierError
from exllama_guard.monitor import Parts, TurnHere
from exllama_guard.settings import Settings
from exllama_guard.sources import Gathered, collect_snippets
from exllama_guard.sources import read_document as read_document_here
from exllama_guard.verifiers import load_reader, load_verifier
from exllama_guard.worker.loop import step

__all__ = ["TASKS"]

T = TypeVar("T")

_TURNS_KEPT = 64  # beyond, the one that was asked about longest ago is read again when it is asked about
_MODELS_KEPT = 2  # of each kind: a comparison has two

_lock = threading.Lock()
_models: OrderedDict[tuple[str, str], object] = OrderedDict()
_turns: OrderedDict[str, TurnHere] = OrderedDict()

Opening = tuple[TurnRequest, Settings]  # what a turn begins with


def load_models(embedder: str, verifier: str, reader: str) -> None:
    """Loads what these settings name and what scoring needs; what cannot be loaded is told by use."""
    with suppress(EmbedderError):
        _embedder(embedder).embed(["warm-up"])
    with suppress(VerifierError):
        asked = _verifier(verifier)
        if asked is not None:
            asked.entailment([("It is warm.", "It is warm.")])
    with suppress(VerifierError):
        reading = _reader(reader)
        if reading is not None:
            reading.read("It is warm.", "", ["It is warm."])
    warm = TurnRequest("warm-up", "Is it warm?", (make_snippet("It is warm.", position=0),))
    TurnHere(warm, Parts(None, None, None, None), Settings(), None, make_scorer=make_scorer).score(
        "It is warm.", Finish.COMPLETE
    )


def embed(name: str, texts: Sequence[str]) -> FloatArray:
    """Unit vectors of the texts, shape (texts, dimensions).

    Raises:
        EmbedderError: The model is missing or failed.
    """
    return _embedder(name).embed(texts)


def embed_question(name: str, text: str) -> FloatArray:
    """The vector of a question, shape (dimensions,), before everything that waits.

    Raises:
        EmbedderError: The model is missing or failed.
    """
    embedder = _embedder(name)
    if isinstance(embedder, QuestionEmbedder):
        return embedder.embed_question(text)
    vector: FloatArray = embedder.embed((text,))[0]
    return vector


def entail(name: str, pairs: Sequence[tuple[str, str]]) -> FloatArray:
    """What the verifier says of each (evidence, claim), shape (pairs, 3).

    Raises:
        VerifierError: The model is missing or failed.
    """
    verifier = _verifier(name)
    if verifier is None:
        raise VerifierError("There is no verifier; name one in the setting 'verifier'.")
    return verifier.entailment(pairs)


def collect(gathered: Mapping[str, Any]) -> tuple[Snippet, ...]:
    """The snippets of a turn from what was gathered of it (the fields of `Gathered` but `lookup`)."""
    return collect_snippets(Gathered(**gathered))


def prepare(turn_id: str, opening: Opening | None, budget_s: float) -> bool | None:
    """Reads on in the snippets of a turn; True once all is read, None where the turn is not known."""
    turn = _turn(turn_id, opening)
    return None if turn is None else turn.prepare(budget_s)


def score(turn_id: str, opening: Opening | None, reply: str, finish: Finish) -> TurnReport | None:
    """The report of a turn's reply, without its request; None where the turn is not known."""
    turn = _turn(turn_id, opening)
    return None if turn is None else _bare(turn.score(reply, finish))


def read(turn_id: str, opening: Opening | None, reply: str, finish: Finish) -> tuple[bool, TurnReport | None]:
    """Whether the turn is known, and its report once the reader has read the reply, if that differs.

    Raises:
        VerifierError: The reader is missing or failed.
    """
    turn = _turn(turn_id, opening)
    found = None if turn is None else turn.read(reply, finish)
    return turn is not None, None if found is None else _bare(found)


def forget(turn_id: str) -> None:
    """Lets go of a turn."""
    _turns.pop(turn_id, None)


def read_document(path: str, shown: str) -> tuple[tuple[Snippet, ...], tuple[str, ...], tuple[str, ...]]:
    """A document's snippets, the text to embed for each, and what could not be read of it.

    Raises:
        SourceError: It cannot be read at all.
    """
    read = read_document_here(Path(path), shown, step=step)
    return read.snippets, read.embedded_texts, read.problems


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


def _turn(turn_id: str, opening: Opening | None) -> TurnHere | None:
    if opening is not None:
        request, settings = opening
        parts = Parts(
            embedder=_embedder(settings.embedder),
            verifier=_verifier(settings.verifier),
            trace=None,
            knowledge=None,
            reader=_reader(settings.reader),
        )
        _turns[turn_id] = TurnHere(request, parts, settings, None, make_scorer=make_scorer)
        while len(_turns) > _TURNS_KEPT:
            _turns.popitem(last=False)
    if turn_id in _turns:
        _turns.move_to_end(turn_id)
    return _turns.get(turn_id)


def _bare(report: TurnReport) -> TurnReport:
    """The report with a request that says no more than whose it is."""
    return replace(report, request=TurnRequest(report.request.turn_id, "", ()))


def _embedder(name: str) -> Embedder:
    return _kept("embedder", name, load_embedder)


def _verifier(name: str) -> Verifier | None:
    return _kept("verifier", name, load_verifier)


def _reader(name: str) -> AnswerReader | None:
    return _kept("reader", name, load_reader)


def _kept(kind: str, name: str, make: Callable[[str], T]) -> T:
    """The model of this kind and name, made once; it loads on first use."""
    with _lock:
        if (kind, name) not in _models:
            _models[kind, name] = make(name)
            same = [key for key in _models if key[0] == kind]
            for key in same[:-_MODELS_KEPT]:
                del _models[key]
        _models.move_to_end((kind, name))
        return cast("T", _models[kind, name])


TASKS: Mapping[str, Callable[..., object]] = {
    task.__name__: task
    for task in (
        load_models,
        embed,
        embed_question,
        entail,
        collect,
        prepare,
        score,
        read,
        forget,
        read_document,
    )
}
