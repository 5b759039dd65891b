"""The doctor inside the host: everything that the loaded loader allows, and why the rest was not measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from exllama_guard.core.checkup import IN_THE_HOST, NO_SUCH_TURN, Checkup, checkup_of, observe_turns
from exllama_guard.core.model_signs import ModelSigns, observe_signs
from exllama_guard.core.ports import Embedder
from exllama_guard.core.records import NotScored, TurnReport
from exllama_guard.core.symptoms import Observation, unobserved
from exllama_guard.probes.background import Tell
from exllama_guard.probes.model_check import Opener, Reading, read_plain_english
from exllama_guard.probes.model_files import observe_environment, observe_files
from exllama_guard.probes.run import Progress

__all__ = ["Patient", "by_chat", "examine", "observe_use"]

_STEPS = 8  # told one by one: versions, files, four readings, the reference, chats


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at. `open` gives the loaded model as one that reads, or why there is none."""

    path: Path | None
    open: Callable[[threading.Event], Reading | NotScored]
    reference: Opener | None
    signs: ModelSigns
    turns: tuple[TurnReport, ...]  # oldest first
    embedder: Embedder | None = None
    window: int = 5


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
    window: int = 5,
    embedder: Embedder | None = None,
) -> tuple[Observation, ...]:
    """What use itself has shown: of the loaded model, and of each chat's turns, oldest first.

    Raises:
        EmbedderError: The embedder is missing or failed.
    """
    found = list(observe_signs(signs))
    for chat in by_chat(turns) or ((),):
        found += observe_turns(
            list(chat),
            window=window,
            finite=signs.finite,
            warm_is_cold=signs.warm_is_cold,
            embedder=embedder,
        )
    return tuple(found)


def examine(patient: Patient, tell: Tell, cancel: threading.Event) -> Checkup:
    """All findings; stopped half way, what was not reached says so.

    Raises:
        EmbedderError: The embedder is missing or failed.
        UserError: The reference is not there.
    """
    say = _Steps(tell)
    say("versions")
    found = [observe_environment()]
    if patient.path is not None:
        say("the model's files")
        found += observe_files(patient.path)
    found += _read(patient, say, cancel)
    if not cancel.is_set():
        say("recorded turns")
        found += observe_use(patient.signs, patient.turns, window=patient.window, embedder=patient.embedder)
    say.done()
    return checkup_of(
        found, elsewhere=IN_THE_HOST, otherwise="stopped by the user" if cancel.is_set() else NO_SUCH_TURN
    )


def _read(patient: Patient, say: _Steps, cancel: threading.Event) -> tuple[Observation, ...]:
    if cancel.is_set():
        return ()
    reading = patient.open(cancel)
    if isinstance(reading, NotScored):
        return tuple(unobserved(id_, reading) for id_ in ("PC1", "PC5", "V5"))
    return read_plain_english(reading, patient.reference, say, cancel)


class _Steps:
    """Tells each step; how many are left is an estimate until the last."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._done, self._started_s = tell, 0, time.monotonic()

    def __call__(self, text: str) -> None:
        took_s = time.monotonic() - self._started_s
        total = max(_STEPS, self._done + 1)
        left_s = took_s / self._done * (total - self._done) if self._done else None
        self._tell(Progress(self._done, total, text, took_s, left_s))
        self._done += 1

    def done(self) -> None:
        """All steps are behind."""
        took_s = time.monotonic() - self._started_s
        self._tell(Progress(self._done, self._done, "", took_s, 0.0))
