"""Runs a list of generations: one at a time, users first, with progress, cancel, and what was kept before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from exllama_guard.probes.generation import Generation, Sampling, TextGenerator
from exllama_guard.probes.run_cache import RunCache, run_key

__all__ = ["Job", "Progress", "Runner"]


@dataclass(frozen=True, slots=True)
class Job:
    """One generation to run; `label` is shown while it runs."""

    text: str
    sampling: Sampling
    seed: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a probe is. `left_s` is None until the first generation gives a measure."""

    done: int
    total: int
    label: str
    elapsed_s: float
    left_s: float | None

    def sentence(self) -> str:
        """Such as `4 of 12, about 20 s left: form 2, seed 1`."""
        left = "" if self.left_s is None else f", about {_duration(self.left_s)} left"
        return f"{self.done} of {self.total}{left}" + (f": {self.label}" if self.label else "")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _nobody_waits(cancel: threading.Event) -> None:
    """There is no user beside a command."""


@dataclass(slots=True)
class Runner:
    """Runs jobs of one probe. `users_first`, called before each, returns when no user waits."""

    cache: RunCache = field(default_factory=RunCache)
    report_progress: Callable[[Progress], None] = lambda _: None
    cancel: threading.Event = field(default_factory=threading.Event)
    users_first: Callable[[threading.Event], None] = _nobody_waits

    def run(self, generator: TextGenerator, jobs: Sequence[Job]) -> Iterator[tuple[Job, Generation]]:
        """Each job with its generation, in order; ends early once `cancel` is set. Kept ones cost nothing.

        Raises:
            BackendError: The model is gone or failed.
            UserError: What was generated cannot be kept.
        """
        started_s = time.monotonic()
        took_s: list[float] = []
        done = 0
        for job in jobs:
            key = run_key(generator.id, job.text, job.sampling, job.seed)
            run = self.cache.get(key)
            self._report_progress(done, len(jobs), job.label, started_s, took_s)
            if run is None:
                self.users_first(self.cancel)
                if self.cancel.is_set():
                    return
                before_s = time.monotonic()
                run = generator.write(job.text, job.sampling, job.seed, self.cancel)
                took_s.append(time.monotonic() - before_s)
                self.cache.add(key, run)
                if run.stopped:
                    return
            done += 1
            yield job, run
        self._report_progress(done, len(jobs), "", started_s, took_s)

    def _report_progress(
        self, done: int, total: int, label: str, started_s: float, took_s: Sequence[float]
    ) -> None:
        left_s = median(took_s) * (total - done) if took_s else None
        self.report_progress(Progress(done, total, label, time.monotonic() - started_s, left_s))
