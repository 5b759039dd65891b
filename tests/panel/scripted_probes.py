"""The real probes over a scripted writer and the fake embedder, for the panel's tests and its demo page."""

from __future__ import annotations

import threading
import time
from dataclasses import fields
from pathlib import Path

from exllama_guard.core.measures import NotScored, Reason
from exllama_guard.monitor import Monitor
from exllama_guard.probes.compare_command import Comparison
from exllama_guard.probes.desk import ProbeDesk
from exllama_guard.probes.desk_parts import DeskParts
from exllama_guard.probes.doctor.model_signs import Fence, ModelSigns
from exllama_guard.probes.generation import Generation, Sampling
from exllama_guard.probes.measures.limits import RetrievalLimits
from exllama_guard.testing import FakeEmbedder

AGREED = "The cache is rotated after 8192 tokens [s1]."
OTHER = "It happens after 4096 tokens."


class SlowWriter:
    """Writes `AGREED`, in the last run `OTHER`, a word at a time; a stop ends it between two words."""

    def __init__(self, word_s: float = 0.0) -> None:
        self.word_s, self.words, self.asked = word_s, 0, 0

    @property
    def id(self) -> str:
        return "scripted"

    def write(self, text: str, sampling: Sampling, seed: int, cancel: threading.Event) -> Generation:
        self.asked += 1
        answer = OTHER if self.asked % 6 == 0 else AGREED
        said: list[str] = []
        for word in answer.split():
            if cancel.is_set():
                return Generation(" ".join(said), len(said), 0.01, 0.01, stopped=True)
            time.sleep(self.word_s)
            said.append(word)
            self.words += 1
        return Generation(answer, len(said), 0.01, 0.01 * len(said), stopped=False)


def probes_over(
    monitor: Monitor,
    *,
    word_s: float = 0.0,
    keep: Path | None = None,
    comparison: Comparison = Comparison(),  # noqa: B008 - a frozen value
) -> ProbeDesk:
    """A desk whose model took three times as long for its first run."""
    parts = {
        "generator": SlowWriter(word_s),
        "users_first": lambda cancel: None,
        "embedder": FakeEmbedder,
        "verifier": lambda: None,
        "retriever": lambda: None,
        "turns": lambda reader: monitor.snapshot(reader).turns,
        "path": lambda: None,
        "reading": lambda cancel: NotScored(Reason.NO_MODEL),
        "signs": lambda reader: ModelSigns(fence=Fence("warm", True, 3.0, same_text=True, slowest_s=0.4)),
        "drift": lambda: None,
        "modes": lambda: None,
        "model": lambda: monitor.model,
        "extensions": lambda: (),
        "limits": RetrievalLimits,
        "window": lambda: 5,
        "environment": lambda: {"model": "scripted"},
        "keep": lambda: keep,
        "text_extensions": lambda: (),
        "replay": None,
        "comparison": comparison,
    }
    known = {field.name for field in fields(DeskParts)}
    return ProbeDesk(DeskParts(**{name: part for name, part in parts.items() if name in known}))
