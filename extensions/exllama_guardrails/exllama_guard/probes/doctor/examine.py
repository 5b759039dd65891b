"""The doctor inside the host: everything that the loaded loader allows, and why the rest was not measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exllama_guard.core.measures import NotScored
from exllama_guard.core.ports import Embedder
from exllama_guard.core.snippets import content_hash
from exllama_guard.core.turns import TurnReport
from exllama_guard.errors import BackendError
from exllama_guard.probes.background import ReportProgress
from exllama_guard.probes.doctor.baseline import Baseline, BaselineStore, drift_from, reading_floor
from exllama_guard.probes.doctor.checkup import IN_THE_HOST, NO_SUCH_TURN, Checkup, checkup_of, observe_turns
from exllama_guard.probes.doctor.detectors.chat import users_at_once
from exllama_guard.probes.doctor.model_check import TOKENS, Opener, Reading, read_plain_english
from exllama_guard.probes.doctor.model_files import (
    observe_bases,
    observe_environment,
    observe_files,
    observe_weights_beside,
)
from exllama_guard.probes.doctor.model_signs import ModelSigns, observe_signs
from exllama_guard.probes.doctor.symptoms import Observation, unobserved
from exllama_guard.probes.measures.fixed_text import PLAIN_ENGLISH
from exllama_guard.probes.measures.limits import RetrievalLimits
from exllama_guard.probes.run import Progress

__all__ = ["CheckupRequest", "by_chat", "examine", "observe_use"]

_STEPS = 9  # told one by one: versions, files, four readings, the reference, the baseline, chats


@dataclass(frozen=True, slots=True)
class CheckupRequest:
    """What is looked at. `open` gives the loaded model as one that reads, or why there is none."""

    path: Path | None
    open: Callable[[threading.Event], Reading | NotScored]
    reference: Opener | None
    signs: ModelSigns
    turns: tuple[TurnReport, ...]  # oldest first
    more: tuple[Observation, ...] = ()  # seen before, by another probe
    baselines: BaselineStore | None = None
    model_hash: str = ""
    loader: str = ""
    embedder: Embedder | None = None
    window: int = 5
    limits: RetrievalLimits = RetrievalLimits()  # noqa: RUF009 - a frozen value


def by_chat(turns: Sequence[TurnReport]) -> tuple[tuple[TurnReport, ...], ...]:
    """The turns of each chat, in their order."""
    chats: dict[str | None, list[TurnReport]] = {}
    for turn in turns:
        chats.setdefault(turn.request.chat_id, []).append(turn)
    return tuple(tuple(chat) for chat in chats.values())


def observe_use(
    signs: ModelSigns,
    turns: Sequence[TurnReport],
    *,
    limits: RetrievalLimits,
    window: int = 5,
    embedder: Embedder | None = None,
) -> tuple[Observation, ...]:
    """What use itself has shown: of the loaded model, and of each chat's turns, oldest first.

    Raises:
        EmbedderError: The embedder is missing or failed.
    """
    found = [*observe_signs(signs), users_at_once(turns, limits)]
    for chat in by_chat(turns) or ((),):
        found += observe_turns(
            list(chat),
            limits=limits,
            window=window,
            finite=signs.finite,
            warm_is_cold=signs.warm_is_cold,
            embedder=embedder,
        )
    return tuple(found)


def examine(request: CheckupRequest, report_progress: ReportProgress, cancel: threading.Event) -> Checkup:
    """All findings; stopped half way, what was not reached says so.

    Raises:
        EmbedderError: The embedder is missing or failed.
        TraceError: The baseline cannot be stored.
    """
    say = _Steps(report_progress)
    say("versions")
    found = [*request.more, observe_environment()]
    if request.path is not None:
        say("the model's files")
        found += observe_files(request.path, request.loader)
        if request.reference is not None:
            found.append(observe_bases(request.path, request.reference.path))
            found.append(observe_weights_beside(request.path, request.reference.path))
    read, signs = _read(request, say, cancel)
    found += read
    if not cancel.is_set():
        say("recorded turns")
        found += observe_use(
            signs,
            request.turns,
            limits=request.limits,
            window=request.window,
            embedder=request.embedder,
        )
    say.done()
    return checkup_of(
        found, elsewhere=IN_THE_HOST, otherwise="stopped by the user" if cancel.is_set() else NO_SUCH_TURN
    )


def _read(
    request: CheckupRequest, say: _Steps, cancel: threading.Event
) -> tuple[tuple[Observation, ...], ModelSigns]:
    """What reading shows, and the signs with the drift from the baseline."""
    if cancel.is_set():
        return (), request.signs
    reading = request.open(cancel)
    if isinstance(reading, NotScored):
        return tuple(unobserved(id_, reading) for id_ in ("PC1", "PC5", "V5")), request.signs
    found = read_plain_english(reading, request.reference, say, cancel)
    return found, request.signs if cancel.is_set() else _beside_baseline(request, reading, say)


def _beside_baseline(request: CheckupRequest, reading: Reading, say: _Steps) -> ModelSigns:
    """Compares with the baseline of this model and loader; the first reading becomes it."""
    signs, store = request.signs, request.baselines
    if store is None or not (request.model_hash and signs.shards_now):
        return signs
    say("the baseline of this model")
    try:
        ids = reading.token_ids(PLAIN_ENGLISH)[:TOKENS]
        with reading.alone():
            first, second = reading.logprobs(ids), reading.logprobs(ids)
    except (BackendError, IndexError):
        return signs  # told by the reading itself
    if isinstance(first, NotScored) or isinstance(second, NotScored):
        return signs
    floor, ids_hash = reading_floor(first, second), content_hash(repr(ids))
    kept = store.get(request.model_hash, request.loader)
    if kept is None:
        values = tuple(float(value) for value in first)
        store.keep(
            Baseline(
                request.model_hash, request.loader, signs.shards_now, ids_hash, values, floor, time.time()
            )
        )
        return signs
    drift = drift_from(kept, first, ids_hash)
    if isinstance(drift, NotScored):
        return signs
    return replace(
        signs,
        baseline=drift,
        floor=max(floor, kept.floor),
        shards_before=signs.shards_before or kept.shard_hash,
    )


class _Steps:
    """Tells each step; how many are left is an estimate until the last."""

    def __init__(self, report_progress: ReportProgress) -> None:
        self._report_progress, self._done, self._started_s = report_progress, 0, time.monotonic()

    def __call__(self, text: str) -> None:
        took_s = time.monotonic() - self._started_s
        total = max(_STEPS, self._done + 1)
        left_s = took_s / self._done * (total - self._done) if self._done else None
        self._report_progress(Progress(self._done, total, text, took_s, left_s))
        self._done += 1

    def done(self) -> None:
        """All steps are behind."""
        took_s = time.monotonic() - self._started_s
        self._report_progress(Progress(self._done, self._done, "", took_s, 0.0))
