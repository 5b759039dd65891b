"""The warm-up gate, called fence: runs until two times to first token in a row agree; then the canary."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from exllama_guard.core.measures import Measure, NotScored, Reason
from exllama_guard.errors import BackendError
from exllama_guard.lifecycle.canary import digest_of
from exllama_guard.lifecycle.path import GenerationPath
from exllama_guard.lifecycle.warmup import (
    PROBE_TOKENS,
    Run,
    first_run_ratio,
    is_warm,
    needs_another_run,
    probe_prompts,
    tokens_per_s,
)

__all__ = ["FenceReport", "FenceState", "Gate", "run_fence"]

_LOOK_S = 0.05  # how often a request that waits looks whether it was given up


class FenceState(str, Enum):
    """Where a model stands on its way to being warm."""

    NONE = "no model"
    OFF = "warm-up is off"
    WARMING = "warming up"
    WARM = "warm"
    UNSETTLED = "ready, but its speed did not settle"
    FAILED = "warm-up failed"
    LATE = "warm-up took longer than its limit"

    @property
    def open(self) -> bool:
        """Whether requests pass."""
        return self is not FenceState.WARMING


@dataclass(frozen=True, slots=True)
class FenceReport:
    """What a warm-up saw. `own_cost_s` is what it took beyond generating its tokens."""

    state: FenceState
    runs: tuple[Run, ...]
    cold_ttft_s: Measure
    warm_ttft_s: Measure
    tokens_per_s: Measure
    first_run_ratio: Measure  # EX1
    # Run 1's greedy text is not the warm one's (EX1). None: not known, or the warm model, asked twice then,
    # does not repeat itself either (EXL2's kernels add in no fixed order).
    first_run_differs: bool | None
    digest: str | None  # the canary
    canary_text: str
    canary_prompt: str  # "" where none was taken
    elapsed_s: float
    own_cost_s: float
    failure: str = ""

    def sentence(self) -> str:
        """One sentence for the list of events."""
        if self.failure:
            return f"{self.state.value.capitalize()}: {self.failure} The chat goes on."
        cold, warm = _seconds(self.cold_ttft_s), _seconds(self.warm_ttft_s)
        return (
            f"The model is {self.state.value} after {len(self.runs)} runs and {self.elapsed_s:.1f} s: "
            f"first token after {cold} cold, {warm} warm."
        )


def run_fence(
    path: GenerationPath,
    count_tokens: Callable[[str], int] | None,
    *,
    limit_s: float,
    cancel: threading.Event,
    still_wanted: Callable[[], bool] = lambda: True,
) -> FenceReport:
    """The report of a warm-up; what goes wrong stands in it and is not raised.

    `cancel` is set once `limit_s` is over; a probe then ends at its next token.
    """
    started_s = time.perf_counter()
    timer = threading.Timer(limit_s, cancel.set)
    timer.daemon = True
    timer.start()
    runs: list[Run] = []
    canary: list[Run] = []  # of the first prompt; a second one only where run 1 wrote something else
    failure = prompt = ""
    try:
        prompts = probe_prompts(count_tokens)
        while needs_another_run(runs) and not cancel.is_set() and still_wanted():
            runs.append(path.run(prompts[len(runs)], PROBE_TOKENS, cancel))
        prompt = prompts[0]
        while _wants_canary(runs, canary) and not cancel.is_set() and still_wanted():
            canary.append(path.run(prompt, PROBE_TOKENS, cancel))
    except BackendError as error:
        failure = str(error)
    finally:
        timer.cancel()
    elapsed_s = time.perf_counter() - started_s
    if not failure and not still_wanted():
        failure = "the model was unloaded or replaced meanwhile."
    elif not failure and cancel.is_set():
        failure = f"the limit of {limit_s:g} s was reached after {len(runs)} runs; raise warmup_limit_s."
        canary = []
    if runs and count_tokens is not None and not failure:
        runs[-1] = replace(runs[-1], tokens=count_tokens(runs[-1].text))  # fewer where the model ended early
    return _report(runs, canary, prompt, elapsed_s, failure, late=cancel.is_set())


def _wants_canary(runs: list[Run], canary: list[Run]) -> bool:
    """Once; twice where it differs from run 1, to know whether the warm model repeats itself."""
    return not canary or (len(canary) == 1 and canary[0].text != runs[0].text)


def _first_run_differs(runs: list[Run], canary: list[Run]) -> bool | None:
    """Whether run 1 wrote something else than the warm model, which repeats itself; else None."""
    if not canary or not runs:
        return None
    if canary[0].text == runs[0].text:
        return False
    return True if len(canary) == 2 and canary[0].text == canary[1].text else None


def _report(
    runs: list[Run], canary: list[Run], prompt: str, elapsed_s: float, failure: str, *, late: bool
) -> FenceReport:
    if failure:
        state = FenceState.LATE if late else FenceState.FAILED
    else:
        state = FenceState.WARM if is_warm(runs) else FenceState.UNSETTLED
    missing = NotScored(Reason.NOT_ENOUGH_DATA, f"{len(runs)} runs")
    text = canary[0].text if canary else None
    return FenceReport(
        state=state,
        runs=tuple(runs),
        cold_ttft_s=runs[0].ttft_s if runs else missing,
        warm_ttft_s=runs[-1].ttft_s if len(runs) > 1 else missing,
        tokens_per_s=tokens_per_s(runs),
        first_run_ratio=first_run_ratio(runs),
        first_run_differs=_first_run_differs(runs, canary),
        digest=None if text is None else digest_of([text]),
        canary_text=text or "",
        canary_prompt="" if text is None else prompt,
        elapsed_s=elapsed_s,
        own_cost_s=max(0.0, elapsed_s - sum(run.elapsed_s for run in (*runs, *canary))),
        failure=failure,
    )


def _seconds(value: Measure) -> str:
    return f"{value:.3f} s" if isinstance(value, float) else str(value)


class Gate:
    """Holds requests back while a model is warmed up. Thread-safe; the lock protects all of its fields.

    Each load gets a ticket. Whoever claims the ticket first runs the warm-up: our worker, or a request that
    came before it and may already hold the host's generation lock.
    """

    def __init__(self) -> None:
        """Open: no model is being warmed up."""
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._ticket = 0
        self._claimed = True
        self.waiting = 0  # requests that wait now

    def arm(self) -> int:
        """Closes the gate for a new load; its ticket."""
        with self._lock:
            self._ticket += 1
            self._claimed = False
            self._open.clear()
            return self._ticket

    def claim(self, ticket: int) -> bool:
        """True for the first who asks with the newest ticket."""
        with self._lock:
            if ticket != self._ticket or self._claimed:
                return False
            self._claimed = True
            return True

    def current(self, ticket: int) -> bool:
        """Whether no newer load has come."""
        return ticket == self._ticket

    @property
    def ticket(self) -> int:
        """The newest ticket."""
        return self._ticket

    @property
    def is_open(self) -> bool:
        """Whether requests pass."""
        return self._open.is_set()

    @property
    def claimed(self) -> bool:
        """Whether somebody runs the warm-up of the newest ticket, or it is over."""
        return self._claimed

    def open(self, ticket: int) -> None:
        """Lets requests pass, unless a newer load has closed the gate again."""
        with self._lock:
            if ticket == self._ticket:
                self._claimed = True
                self._open.set()

    def wait(self, limit_s: float, given_up: Callable[[], bool] = lambda: False) -> bool:
        """True once the gate is open; False when `limit_s` went by, or soon after `given_up()`."""
        until_s = time.monotonic() + limit_s
        with self._lock:
            self.waiting += 1
        try:
            while not self._open.wait(min(_LOOK_S, max(0.0, until_s - time.monotonic()))):
                if given_up() or time.monotonic() >= until_s:
                    return False
            return True
        finally:
            with self._lock:
                self.waiting -= 1
