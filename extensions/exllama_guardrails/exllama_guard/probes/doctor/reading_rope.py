"""RoPE base and sliding window by reading: does another one read plain English better (PC5)?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from exllama_guard.core.measures import NotScored, Reason
from exllama_guard.probes.doctor.detectors.files import BETTER_NATS, rope_fit, window_fit
from exllama_guard.probes.doctor.reading import Budget, InsideView, Reading
from exllama_guard.probes.doctor.shape import DEFAULT_ROPE
from exllama_guard.probes.doctor.symptoms import Observation, unobserved

__all__ = ["BASES", "LONG_TOKENS", "observe_positions"]

BASES = (DEFAULT_ROPE, 100_000.0, 500_000.0, 1_000_000.0)  # of SmolLM2 and most others since 2023
LONG_TOKENS = 1000  # for the RoPE base: on fewer, bases differ too little
FIRST_TOKENS = 300
# A base that is worse than the configured one on the first tokens is not read on: over the wrong bases of
# docs/doctor.md the right one was never worse there.
_WORSE_NATS = 0.02
WINDOWS = (512, 1024)  # of Gemma 3's small and large models; others slide far beyond the text

Say = Callable[[str], None]


def observe_positions(
    model: Reading, ids: tuple[int, ...], budget: Budget, say: Say
) -> list[tuple[Observation, str]]:
    """PC5 for each kind of layer, then for the window: the observation, and why less was read, else ''."""
    inside = model.inside()
    if inside is None:
        return [(unobserved("PC5", "the loader does not let other RoPE bases be tried"), "")]
    bases = inside.bases()
    if not bases:
        return [(unobserved("PC5", "the model has no plain RoPE frequencies, or scales them"), "")]
    found = []
    for kind, configured in bases.items():
        found.append(_bases(model, inside, kind, configured, ids, budget, say))
    window = inside.window()
    if window is not None and window >= min(len(ids), LONG_TOKENS) and len(ids) > 1.5 * WINDOWS[0]:
        found.append(_windows(model, inside, window, ids, budget, say))
    return found


def _bases(
    model: Reading,
    inside: InsideView,
    kind: str,
    configured: float,
    ids: tuple[int, ...],
    budget: Budget,
    say: Say,
) -> tuple[Observation, str]:
    """All bases on the first tokens; the text is read on with those that may be better."""
    others = [base for base in BASES if abs(base / configured - 1.0) > 0.05]
    first = ids[:FIRST_TOKENS]
    read = _each(model, inside, kind, (configured, *others), first, budget, say)
    if isinstance(read, NotScored):
        return unobserved("PC5", read), ""
    if len(read) <= len(others):
        return _shortened(len(first), "not every base could be tried")
    left = [base for base in others if read[base] < read[configured] + _WORSE_NATS]
    if not left or len(ids) <= len(first):
        return rope_fit(configured, read, len(first), kind), ""
    needed_s = budget.token_s * len(ids) * (1 + len(left))
    if needed_s > budget.left_s():
        if read[configured] - min(read.values()) > BETTER_NATS:
            return rope_fit(configured, read, len(first), kind), ""
        return _shortened(len(first), f"{len(ids)} tokens would take {needed_s:.0f} s")
    long = _each(model, inside, kind, (configured, *left), ids, budget, say)
    if isinstance(long, NotScored):
        return unobserved("PC5", long), ""
    if len(long) <= len(left):
        return _shortened(len(first), "not every base could be read on")
    # What the first tokens ruled out stays in the numbers, by its distance there.
    ruled_out = {
        base: long[configured] + read[base] - read[configured] for base in others if base not in left
    }
    return rope_fit(configured, {**long, **ruled_out}, len(ids), kind), ""


def _each(
    model: Reading,
    inside: InsideView,
    kind: str,
    bases: tuple[float, ...],
    ids: tuple[int, ...],
    budget: Budget,
    say: Say,
) -> dict[float, float] | NotScored:
    """Nats a token with each base; fewer of them where the time is over."""
    read: dict[float, float] = {}
    for base in bases:
        if budget.cancel.is_set():
            return NotScored(Reason.STOPPED)
        if not budget.left_s():
            break
        say(f"reading {len(ids)} tokens with rope_theta {base:g}{f' ({kind} attention)' if kind else ''}")
        value = _nll(model, inside.with_base(kind, base), ids, budget)
        if isinstance(value, NotScored):
            return value
        read[base] = value
    return read


def _shortened(tokens: int, why: str) -> tuple[Observation, str]:
    reason = (
        f"read on {tokens} tokens only, on which RoPE bases differ too little: {why}; raise the time budget"
    )
    return unobserved("PC5", reason), reason


def _windows(
    model: Reading, inside: InsideView, window: int, ids: tuple[int, ...], budget: Budget, say: Say
) -> tuple[Observation, str]:
    """A window that is longer than the text, against those of the families that have one."""
    needed_s = budget.token_s * len(ids) * 2
    if needed_s > budget.left_s():
        why = f"another sliding window would take {needed_s:.0f} s to be tried; raise the time budget"
        return unobserved("PC5", why), why
    read = {}
    for tokens in (window, *(n for n in WINDOWS if n < min(window, len(ids)))):
        say(f"reading {len(ids)} tokens with a sliding window of {tokens}")
        value = _nll(model, inside.with_window(tokens), ids, budget)
        if isinstance(value, NotScored):
            return unobserved("PC5", value), ""
        read[tokens] = value
    return window_fit(window, read, len(ids)), ""


def _nll(
    model: Reading, changed: AbstractContextManager[None], ids: Sequence[int], budget: Budget
) -> float | NotScored:
    """Nats a token."""
    with model.alone(), changed:
        logs = budget.read(model, ids)
    return logs if isinstance(logs, NotScored) else float(-logs.mean())
