"""Measures from how many tokens on a warm cache makes the model write something else than a cold one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from exllama_guard.core.backend import Backend
from exllama_guard.core.measures import Measure, NotScored, Reason
from exllama_guard.core.turns import TurnReport
from exllama_guard.errors import BackendError
from exllama_guard.lifecycle.kv_cache import (
    DriftPoint,
    DriftReport,
    context_drift_at,
    mismatch,
    numeric_drift_at,
)
from exllama_guard.lifecycle.path import GenerationPath, alone

__all__ = ["Progress", "context_of", "measure_drift", "steps_up_to"]

Progress = Callable[[float, str], None]  # share done in [0, 1], what is done now

CANARY_PROMPT = "A long run must not change what a model writes. The first thing to look at is"
CANARY_TOKENS = 24
# Kernels that add in no fixed order (EXL2's) write another greedy text now and then, whatever the cache
# holds: where the cold runs differ, the best of as many warm ones counts.
_COLD_RUNS = 4
_FILL_TOKENS = 16  # written after each filling prompt, so that the cache holds generated tokens too
_FILLER = "Entry {number}: the reading at station {station} was {value} units, and nothing else was noted. "
_FIRST_STEP = 256
_ENTER_S = 30.0


def steps_up_to(max_tokens: int, context_tokens: int | None = None) -> tuple[int, ...]:
    """Token counts to test: 256, 512, ... doubled, and `max_tokens` itself.

    Raises:
        BackendError: `max_tokens` is below 256.
    """
    if max_tokens < _FIRST_STEP:
        raise BackendError(f"{max_tokens} tokens were asked for; ask for at least {_FIRST_STEP}.")
    steps = []
    step = _FIRST_STEP
    while step < max_tokens:
        steps.append(step)
        step *= 2
    return (*steps, max_tokens)


def measure_drift(
    path: GenerationPath,
    backend: Backend,
    max_tokens: int,
    *,
    progress: Progress = lambda share, text: None,
    cancel: threading.Event | None = None,
    turns: Sequence[tuple[float, int]] = (),
) -> DriftReport:
    """Drift of both kinds up to `max_tokens` tokens through one cache; `turns` are (ΔS, tokens so far).

    Raises:
        BackendError: `max_tokens` is below 256, the model is gone, or it stays busy.
    """
    cancel = cancel or threading.Event()
    steps = steps_up_to(max_tokens)
    probe = _Probe(path, backend, cancel)
    progress(0.0, f"{_COLD_RUNS} runs with a cold cache")
    cold, *others = (probe.canary(cold=True) for _ in range(_COLD_RUNS))
    floor: Measure = max(mismatch(cold, other) for other in others)
    if cancel.is_set():
        floor = NotScored(Reason.STOPPED)
    points: list[DriftPoint] = []
    seen = 0
    for number, step in enumerate(steps):
        progress((number + 0.5) / (len(steps) + 1), f"filling the cache up to {step} tokens")
        while seen < step and not cancel.is_set():
            seen += probe.fill(min(step - seen, probe.longest))
        tries = 1 if floor == 0.0 else _COLD_RUNS
        warm = [() if cancel.is_set() else probe.canary(cold=False) for _ in range(tries)]
        if cancel.is_set():
            break  # what was written is broken off, not different
        points.append(DriftPoint(seen, min(mismatch(cold, one) for one in warm)))
    tested = points[-1].tokens if points else 0
    progress(1.0, "stopped" if cancel.is_set() else "done")
    return DriftReport(
        tested_tokens=tested,
        floor=floor,
        points=tuple(points),
        numeric_at_tokens=numeric_drift_at(points, floor),
        context_at_tokens=context_drift_at([d for d, _ in turns], [t for _, t in turns]),
        stopped=cancel.is_set(),
        notes=(*_notes(backend), *_limits(floor, stopped=cancel.is_set())),
    )


def context_of(reports: Sequence[TurnReport]) -> tuple[tuple[float, int], ...]:
    """(answer-side ΔS, words so far as tokens) of each scored turn of a conversation, oldest first."""
    points, tokens = [], 0
    for report in reports:
        tokens += len(report.request.question.split()) + len(report.answer.split())
        distance = report.distances.answer_anchor
        if not isinstance(distance, float):
            distance = report.distances.answer_context.min
        if isinstance(distance, float):
            points.append((distance, tokens))
    return tuple(points)


def _notes(backend: Backend) -> tuple[str, ...]:
    can = backend.capabilities
    if not can.keeps_cache:
        return (f"{can.loader} builds a new cache for each answer, so a long run cannot change it.",)
    if not can.cache_reset:
        return (f"{can.loader} cannot empty its cache, so the cold runs were not certainly cold.",)
    return ()


def _limits(floor: Measure, *, stopped: bool) -> tuple[str, ...]:
    notes = []
    if isinstance(floor, float) and floor > 0.0:
        notes.append(
            f"Cold runs of one prompt already differ in up to {floor:.0%} of their tokens, "
            "so only a larger change would have been seen."
        )
    if stopped:
        notes.append("The measurement was stopped.")
    return tuple(notes)


class _Probe:
    """Generates for the measurement, one right of way at a time, so that users' requests pass in between."""

    def __init__(self, path: GenerationPath, backend: Backend, cancel: threading.Event) -> None:
        self._path, self._backend, self._cancel = path, backend, cancel
        context = backend.card().context_tokens or 2048
        self.longest = max(64, min(2048, context // 2))
        self._entry = 0

    def canary(self, *, cold: bool) -> tuple[object, ...]:
        """Token ids of the greedy canary."""
        with alone(self._path, _ENTER_S) as entered:
            if not entered:
                raise BackendError(f"The model was busy for {_ENTER_S:g} s; measure again when no one chats.")
            if cold and self._backend.capabilities.cache_reset:
                self._backend.reset_cache()
            text = self._path.run(CANARY_PROMPT, CANARY_TOKENS, self._cancel).text
        return self._backend.token_ids(text)

    def fill(self, n_tokens: int) -> int:
        """Sends about `n_tokens` new tokens through the cache; how many it were."""
        text = ""
        while self._backend.count_tokens(text) < n_tokens:
            for _ in range(max(1, (n_tokens - self._backend.count_tokens(text)) // 24)):
                self._entry += 1
                number = self._entry
                text += _FILLER.format(number=number, station=number * 7 % 89, value=number * 31 % 997)
        with alone(self._path, _ENTER_S) as entered:
            if not entered:
                raise BackendError(f"The model was busy for {_ENTER_S:g} s; measure again when no one chats.")
            run = self._path.run(text, _FILL_TOKENS, self._cancel)
        return self._backend.count_tokens(text) + run.tokens
