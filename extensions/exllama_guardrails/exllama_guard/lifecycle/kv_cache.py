"""What to do with a KV cache between answers, and from how many tokens on a long run drifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from exllama_guard.core.backend import CacheUsage, Capabilities
from exllama_guard.core.measures import Measure, NotScored, Reason

__all__ = [
    "CONTEXT_RISE",
    "Action",
    "Cause",
    "Decision",
    "DriftPoint",
    "DriftReport",
    "context_drift_at",
    "decide",
    "evaluated_tokens",
    "mismatch",
    "numeric_drift_at",
    "shared_prefix",
]

CONTEXT_RISE = 0.10  # docs/lifecycle.md: rise of the 5-turn mean ΔS over the first five
_CONTEXT_WINDOW = 5
_SCATTERED = 0.5  # share of pages out of order from which defragmenting is worth an idle moment
_FULL = 0.95  # share of the cache from which the tail of the last answer is dropped


class Action(str, Enum):
    """What is done with the cache between two answers."""

    KEEP = "KEEP"
    TRIM = "TRIM"
    RESET = "RESET"
    DEFRAGMENT = "DEFRAGMENT"


class Cause(str, Enum):
    """Why an action is taken."""

    NONE = "nothing to do"
    LIMIT = "token limit reached"
    BAD_LOGITS = "NaN or Inf in the logits"
    CANARY = "the canary changed"
    MODEL = "the model changed"
    FULL = "the cache is nearly full"
    SCATTERED = "the pages are out of order"
    ASKED = "asked for"
    OFF = "rotation is off"
    NOT_POSSIBLE = "not possible with this loader"

    @property
    def forced(self) -> bool:
        """Whether it holds below the token limit too."""
        return self in (Cause.BAD_LOGITS, Cause.CANARY, Cause.MODEL, Cause.ASKED)


@dataclass(frozen=True, slots=True)
class Decision:
    """One of the four actions, why, and whether it must wait because something runs."""

    action: Action
    cause: Cause
    postponed: bool = False


def decide(
    tokens: int,
    limit_tokens: int,
    can: Capabilities,
    *,
    busy: bool = False,
    enabled: bool = True,
    forced: Cause | None = None,
    usage: CacheUsage | None = None,
) -> Decision:
    """The action for a cache that has seen `tokens` since its last reset.

    A forced reset does not ask whether rotation is on, but never runs while `busy`.

    Raises:
        ValueError: `limit_tokens` < 1 or `tokens` < 0.
    """
    if limit_tokens < 1 or tokens < 0:
        raise ValueError(f"tokens is {tokens} and limit_tokens {limit_tokens}; they must be at least 0 and 1")
    wanted = _wanted(tokens, limit_tokens, enabled, forced, usage)
    if wanted.action is Action.KEEP:
        return wanted
    if not _possible(wanted.action, can):
        return Decision(Action.KEEP, Cause.NOT_POSSIBLE)
    if busy:
        return Decision(Action.KEEP, wanted.cause, postponed=True)
    return wanted


def _wanted(
    tokens: int, limit_tokens: int, enabled: bool, forced: Cause | None, usage: CacheUsage | None
) -> Decision:
    if forced is not None:
        return Decision(Action.RESET, forced)
    if not enabled:
        return Decision(Action.KEEP, Cause.OFF)
    if tokens >= limit_tokens:
        return Decision(Action.RESET, Cause.LIMIT)
    if usage is not None:
        if usage.max_tokens and usage.used_tokens >= _FULL * usage.max_tokens:
            return Decision(Action.TRIM, Cause.FULL)
        if usage.scattered is not None and usage.scattered >= _SCATTERED:
            return Decision(Action.DEFRAGMENT, Cause.SCATTERED)
    return Decision(Action.KEEP, Cause.NONE)


def _possible(action: Action, can: Capabilities) -> bool:
    return {
        Action.RESET: can.cache_reset,
        Action.TRIM: can.cache_trim,
        Action.DEFRAGMENT: can.cache_defragment,
    }[action]


def shared_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Number of equal ids at the beginning of both."""
    shortest = min(len(a), len(b))
    if tuple(a[:shortest]) == tuple(b[:shortest]):
        return shortest
    low, high = 0, shortest  # equal up to low, different somewhere below high
    while high - low > 1:
        middle = (low + high) // 2
        if tuple(a[low:middle]) == tuple(b[low:middle]):
            low = middle
        else:
            high = middle
    return low


def evaluated_tokens(prompt: Sequence[int], before: Sequence[int], reuse_tokens: int | None) -> int:
    """Prompt tokens that a loader evaluates anew when its cache holds `before`, in [0, len(prompt)].

    `reuse_tokens` is the step of reuse (1, a page, or None for a loader that reuses nothing). The last
    token of a prompt is always evaluated, because its logits are needed.
    """
    if not prompt:
        return 0
    if not reuse_tokens:
        return len(prompt)
    reused = shared_prefix(prompt, before) // reuse_tokens * reuse_tokens
    return max(1, len(prompt) - reused)


@dataclass(frozen=True, slots=True)
class DriftPoint:
    """One comparison of a warm cache's canary with a cold cache's, after `tokens` tokens."""

    tokens: int
    distance: Measure  # share of the greedy tokens after the first difference, [0, 1]


@dataclass(frozen=True, slots=True)
class DriftReport:
    """Both kinds of drift. A count of None means: none up to `tested_tokens`."""

    tested_tokens: int
    floor: Measure  # largest distance of the cold runs
    points: tuple[DriftPoint, ...]
    numeric_at_tokens: int | NotScored | None
    context_at_tokens: int | NotScored | None
    stopped: bool = False
    notes: tuple[str, ...] = ()

    def sentences(self) -> tuple[str, ...]:
        """Plain sentences, one for each kind of drift and what a reset can do about it."""
        return (
            _drift_sentence("Numeric drift", self.numeric_at_tokens, self.tested_tokens),
            _drift_sentence("Context drift", self.context_at_tokens, self.tested_tokens),
            "A reset of the cache cures numeric drift only; a long context drifts by its content.",
            *self.notes,
        )


def _drift_sentence(kind: str, at_tokens: int | NotScored | None, tested_tokens: int) -> str:
    if isinstance(at_tokens, NotScored):
        return f"{kind}: {at_tokens}."
    if at_tokens is None:
        return f"{kind}: none up to {tested_tokens} tokens, the longest that was tested."
    return f"{kind}: from {at_tokens} tokens on."


def mismatch(a: Sequence[object], b: Sequence[object]) -> float:
    """Share of the longer sequence that comes after the first difference, in [0, 1]; 0 when equal.

    Greedy decoding goes its own way after the first different token, so later matches say nothing.
    """
    longest = max(len(a), len(b))
    if longest == 0:
        return 0.0
    same = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        same += 1
    return 1.0 - same / longest


def numeric_drift_at(points: Sequence[DriftPoint], floor: Measure) -> int | NotScored | None:
    """Smallest tested token count whose distance exceeds the floor; None when there is none."""
    if isinstance(floor, NotScored):
        return floor
    scored = [point for point in points if isinstance(point.distance, float)]
    if not scored:
        return NotScored(Reason.NOT_ENOUGH_DATA, "no length was measured")
    return min((p.tokens for p in scored if p.distance > floor), default=None)  # type: ignore[operator]


def context_drift_at(distances: Sequence[float], tokens: Sequence[int]) -> int | NotScored | None:
    """Tokens after which the 5-turn mean ΔS exceeds the mean of the first five by CONTEXT_RISE, or None.

    Args:
        distances: ΔS of each turn, oldest first.
        tokens: Tokens of the conversation up to and with each turn, the same length.

    Raises:
        ValueError: The lengths differ.
    """
    if len(distances) != len(tokens):
        raise ValueError(f"{len(distances)} distances and {len(tokens)} token counts; they must be equal")
    if len(distances) < _CONTEXT_WINDOW + 1:
        return NotScored(
            Reason.NOT_ENOUGH_DATA, f"{len(distances)} turns; at least {_CONTEXT_WINDOW + 1} are needed"
        )
    first = sum(distances[:_CONTEXT_WINDOW]) / _CONTEXT_WINDOW
    for end in range(_CONTEXT_WINDOW + 1, len(distances) + 1):
        mean = sum(distances[end - _CONTEXT_WINDOW : end]) / _CONTEXT_WINDOW
        if mean - first > CONTEXT_RISE:
            return tokens[end - 1]
    return None
