"""Seconds a token of one mode: the same greedy text written anew several times, nothing else running."""

from __future__ import annotations

import threading

from exllama_guard.core.measures import NotScored, Reason
from exllama_guard.probes.generation import Sampling, TextGenerator

__all__ = ["TIMED_RUNS", "TIMED_TOKENS", "token_seconds"]

TIMED_RUNS, TIMED_TOKENS = 5, 12
_TEXT = "Tell a long story about a village at the end of a valley."  # long, so that no mode ends early


def token_seconds(
    mode: TextGenerator, cancel: threading.Event, *, of_tokens: int = TIMED_TOKENS
) -> tuple[float, ...] | NotScored:
    """Seconds a token after the first one, of each run; a short run before them is thrown away.

    Raises:
        BackendError: The model is gone or failed.
    """
    seconds = []
    for number in range(TIMED_RUNS + 1):
        tokens = of_tokens if number else 2
        written = mode.write(_TEXT, Sampling(temperature=0.0, top_p=1.0, max_tokens=tokens), 0, cancel)
        if written.stopped:
            return NotScored(Reason.STOPPED)
        if written.tokens < 2:
            return NotScored(Reason.NOT_ENOUGH_DATA, f"{written.tokens} tokens; 2 are needed")
        if number:
            seconds.append((written.elapsed_s - written.ttft_s) / (written.tokens - 1))
    return tuple(seconds)
