"""What the desk works with, and what it gives back: values and where to ask for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exllama_guard.core.measures import NotScored
from exllama_guard.core.ports import Embedder, Retriever, Verifier
from exllama_guard.core.turns import ModelInfo, Reader, TurnReport
from exllama_guard.lifecycle import DriftReport
from exllama_guard.probes.background import TaskState
from exllama_guard.probes.compare_command import Comparison
from exllama_guard.probes.doctor.baseline import BaselineStore
from exllama_guard.probes.doctor.checkup import Checkup
from exllama_guard.probes.doctor.diagnosis import ModeSummary
from exllama_guard.probes.doctor.examine import CheckupRequest
from exllama_guard.probes.doctor.model_check import Reading
from exllama_guard.probes.doctor.model_signs import ModelSigns
from exllama_guard.probes.generation import TextGenerator
from exllama_guard.probes.gold import GoldSet
from exllama_guard.probes.measures.limits import RetrievalLimits
from exllama_guard.probes.measures.verification import ItemResult
from exllama_guard.probes.replay import Replayed, ReplayHost, ReplayJob

__all__ = [
    "DeskParts",
    "DoctorState",
    "GoldToRun",
    "ReplayState",
    "Verified",
    "VerifyState",
    "with_hashes",
]


@dataclass(frozen=True, slots=True)
class DeskParts:
    """Where the desk finds things; each is asked when it is needed, so that a change counts at once."""

    generator: TextGenerator
    users_first: Callable[[threading.Event], None]
    embedder: Callable[[], Embedder]
    verifier: Callable[[], Verifier | None]
    retriever: Callable[[], Retriever | None]
    turns: Callable[[Reader], tuple[TurnReport, ...]]  # newest first
    path: Callable[[], Path | None]  # of the loaded model
    reading: Callable[[threading.Event], Reading | NotScored]
    signs: Callable[[Reader], ModelSigns]
    drift: Callable[[], DriftReport | None]
    modes: Callable[[], Sequence[ModeSummary] | None]
    model: Callable[[], ModelInfo | None]  # with the hashes of its files, once they are read
    extensions: Callable[[], tuple[str, ...] | None]
    text_extensions: Callable[[], tuple[str, ...]]  # that may change a prompt
    limits: Callable[[], RetrievalLimits]
    window: Callable[[], int]
    environment: Callable[[], dict[str, str]]
    replay: ReplayHost
    keep: Callable[[], Path | None] = lambda: None  # where answers may lie on disk
    baselines: BaselineStore | None = None
    comparison: Comparison = Comparison()  # noqa: RUF009 - a frozen value


@dataclass(frozen=True, slots=True)
class Verified:
    """A gold set that was run; `results` are fewer than `planned` where it was stopped."""

    results: tuple[ItemResult, ...]
    problems: tuple[str, ...]
    planned: int


@dataclass(frozen=True, slots=True)
class GoldToRun:
    """A gold set to run, with answers of the loaded model or for retrieval only."""

    items: GoldSet
    answers: bool


DoctorState = TaskState[CheckupRequest, Checkup]
ReplayState = TaskState[ReplayJob, Replayed]
VerifyState = TaskState[GoldToRun, Verified]


def with_hashes(turn: TurnReport, now: ModelInfo | None) -> TurnReport:
    """The turn with what is known of its model by now; a reply may start before its files are read."""
    then = turn.request.model
    if then is None or now is None or then.shard_hash or (then.name, then.loader) != (now.name, now.loader):
        return turn
    return replace(turn, request=replace(turn.request, model=now))
