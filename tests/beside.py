"""What a reply loses to work that another thread does beside it, read off the reply's own tokens.

Two replies to one prompt differ by some per cent by themselves, which is more than the guard may cost;
tokens of one reply are a few milliseconds apart, so what they lose can be told from them alone.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple


class Job(NamedTuple):
    """One job of the scoring thread: when, and its milliseconds of processor time."""

    name: str
    begun_s: float
    ended_s: float
    worked_ms: float


class Lost(NamedTuple):
    """Share of the reply's time, and the number of tokens it was lost by."""

    share: float
    tokens: int


def told_jobs(monitor: Any) -> list[Job]:
    """The jobs of a monitor's scoring thread, filled as they end."""
    jobs: list[Job] = []

    def telling(name, work):
        def told(*args):
            begun_s, worked_s = time.perf_counter(), time.thread_time()
            work(*args)
            jobs.append(Job(name, begun_s, time.perf_counter(), (time.thread_time() - worked_s) * 1e3))

        return told

    worker = monitor._worker
    for name in ("_prepare", "_score_live", "_score_final"):
        setattr(worker, name, telling(name, getattr(worker, name)))
    return jobs


def lost_beside(times_s: Sequence[float], jobs: Sequence[Job]) -> Lost:
    """What the tokens written beside `jobs` took above the median of the others; `times_s`: when each came.

    It is negative where they were quicker; where all were written beside work nothing is told: 0 tokens.
    """
    beside, free = [], []
    for start_s, end_s in itertools.pairwise(times_s):
        busy = any(job.begun_s < end_s and start_s < job.ended_s for job in jobs)
        (beside if busy else free).append(end_s - start_s)
    if not free:
        return Lost(0.0, 0)
    usual_s = statistics.median(free)
    return Lost(sum(took - usual_s for took in beside) / (times_s[-1] - times_s[0]), len(beside))
