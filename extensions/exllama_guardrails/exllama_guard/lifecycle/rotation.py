"""Counts the tokens that went through a cache and resets it between two answers."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from exllama_guard.core.backend import Backend, CacheUsage
from exllama_guard.core.measures import Measure, NotScored, Reason
from exllama_guard.errors import BackendError
from exllama_guard.lifecycle.kv_cache import Action, Cause, Decision, decide, evaluated_tokens
from exllama_guard.lifecycle.path import GenerationPath, alone

__all__ = ["Rotated", "Rotation"]

_IDLE_WAIT_S = 0.5  # the reply that was just counted still holds the host's lock for some milliseconds


@dataclass(frozen=True, slots=True)
class Rotated:
    """What was done to a cache, and what it costs: the tokens that the next prompt evaluates anew."""

    decision: Decision
    tokens: int  # since the reset before
    next_prefill_tokens: int
    next_prefill_s: Measure
    failure: str = ""

    def sentence(self) -> str:
        """One sentence for the list of events."""
        action, cause = self.decision.action.value, self.decision.cause.value
        what = f"{action} of the cache after {self.tokens} tokens ({cause})"
        if self.failure:
            return f"{what} was not possible: {self.failure}"
        cost = (
            f"{self.next_prefill_s:.2f} s"
            if isinstance(self.next_prefill_s, float)
            else "a time not known yet"
        )
        return f"{what}; the next prompt evaluates about {self.next_prefill_tokens} tokens anew, {cost}."


class Rotation:
    """Tokens since the last reset of one loaded model's cache. The lock protects the counters."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        self._lock = threading.Lock()
        self._held: tuple[int, ...] = ()
        self._prefill_s_per_token: float | None = None
        self._forced: Cause | None = None
        self.tokens = 0
        self.replies = 0
        self.counting_s = 0.0  # spent counting, all replies together

    def started_anew(self) -> None:
        """Another model: nothing is in the cache."""
        with self._lock:
            self._held, self.tokens, self.replies, self.counting_s = (), 0, 0, 0.0
            self._prefill_s_per_token = self._forced = None

    def force(self, cause: Cause) -> None:
        """The next idle moment resets the cache, whatever the count."""
        with self._lock:
            self._forced = cause

    def count(self, backend: Backend, prompt: str, reply: str, ttft_s: float | None) -> int:
        """Adds a finished reply; the tokens since the last reset.

        Raises:
            BackendError: The tokenizer is missing or the model is gone.
        """
        started_s = time.perf_counter()
        prompt_ids, reply_ids = backend.token_ids(prompt), backend.token_ids(reply)
        with self._lock:
            evaluated = evaluated_tokens(prompt_ids, self._held, backend.capabilities.reuse_tokens)
            self.tokens += evaluated + len(reply_ids)
            self.replies += 1
            self._held = prompt_ids + reply_ids
            if ttft_s is not None and evaluated:
                self._prefill_s_per_token = ttft_s / evaluated
            self.counting_s += time.perf_counter() - started_s
            return self.tokens

    def rotate(
        self,
        backend: Backend,
        path: GenerationPath,
        *,
        limit_tokens: int,
        enabled: bool,
        asked: bool = False,
    ) -> Rotated | None:
        """Does what the count asks for; None where nothing was to be done or an answer is being written."""
        can = backend.capabilities
        usage = backend.cache_usage() if can.cache_usage else None
        decision = decide(
            self.tokens,
            limit_tokens,
            can,
            enabled=enabled,
            forced=Cause.ASKED if asked else self._forced,
            usage=usage if isinstance(usage, CacheUsage) else None,
        )
        if decision.action is Action.KEEP:
            if decision.cause is Cause.NOT_POSSIBLE:
                self._forced = None
            return self._done(decision, "the loader does not offer it.") if asked else None
        with alone(path, _IDLE_WAIT_S) as entered:
            if not entered:
                return self._done(decision, "an answer is being written; ask again.") if asked else None
            try:
                self._act(decision.action, backend)
            except BackendError as error:
                return self._done(decision, str(error))
        return self._done(decision, "")

    def _act(self, action: Action, backend: Backend) -> None:
        if action is Action.RESET:
            backend.reset_cache()
        elif action is Action.DEFRAGMENT:
            backend.defragment_cache()
        else:
            backend.trim_cache(len(self._held) // 2)

    def _done(self, decision: Decision, failure: str) -> Rotated:
        with self._lock:
            tokens, anew = self.tokens, len(self._held)
            each_s = self._prefill_s_per_token
            if decision.action is not Action.RESET:
                anew = 0 if decision.action is not Action.TRIM else anew - anew // 2
            elif not failure:
                self.tokens, self._held, self._forced = 0, (), None
        cost: Measure = NotScored(Reason.NOT_ENOUGH_DATA, "no prompt was timed yet")
        if each_s is not None:
            cost = each_s * anew
        return Rotated(decision, tokens, anew, cost, failure)
