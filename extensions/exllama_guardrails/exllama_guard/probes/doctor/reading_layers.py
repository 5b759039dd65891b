"""A model's layers while it reads: where it is not finite, which layer it would read better without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exllama_guard.core.measures import FloatArray, Gate, NotScored
from exllama_guard.probes.doctor.reading import Budget, InsideView, Reading, Trace
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved

__all__ = ["LAYER_TOKENS", "not_finite_in", "observe_layers", "profile_inputs", "rows_of_pairs"]

LAYER_TOKENS = 120
_LEAST_TOKENS = 60
# Without a layer a healthy model reads worse: over both models at hand the best a missing layer did was
# 0.04 nats better on 120 tokens, with a standard error of 0.045.
_BETTER_NATS, _ERRORS = 0.1, 3.0
_READS_NATS = 5.0  # what a repaired model must read at, so that the repair is named
_RESTORED = 0.1  # nats that another order of layers must save beyond leaving one out, to be named
_AGAIN = "The weights are damaged: download them again from the model's source."


def not_finite_in(model: Reading, ids: Sequence[int]) -> tuple[str, float | None]:
    """Words for the first layer whose output is not finite, and its number; '' where that cannot be seen."""
    inside = model.inside()
    if inside is None:
        return "", None
    trace, _ = inside.trace(lambda: model.logprobs(ids))
    bad = np.flatnonzero(trace.bad > 0)
    if not len(bad):
        return "after the last layer", None
    if bad[0] == 0:
        return "from the embedding on", None
    return f"from layer {bad[0] - 1} on", float(bad[0] - 1)


def profile_inputs(trace: Trace) -> dict[str, str]:
    """The profile as inputs of an observation: numbers by layer, in one text each."""

    def row(values: FloatArray, digits: int) -> str:
        return " ".join(f"{value:.{digits}f}" for value in values)

    return {"norm_by_layer": row(trace.norms, 1), "cosine_by_layer": row(trace.turns, 3)}


@dataclass(frozen=True, slots=True)
class _Without:
    layer: int
    saved: float  # nats a token
    error: float


def observe_layers(
    model: Reading, ids: tuple[int, ...], budget: Budget, say: Callable[[str], None]
) -> tuple[Observation, str]:
    """W2: the layer without which plain English costs clearly less, and why less was read, else ''."""
    inside = model.inside()
    if inside is None:
        return unobserved("W2", "the loader does not show its layers"), ""
    passes = inside.n_layers * 0.75  # most of them skip the layers before
    least = budget.token_s * _LEAST_TOKENS * passes
    if budget.token_s and least > 0.6 * budget.left_s():
        why = (
            f"reading without each of {inside.n_layers} layers would take {least:.0f} s of the "
            f"{budget.left_s():.0f} s that are left; raise the time budget"
        )
        return unobserved("W2", why), why
    n = LAYER_TOKENS
    if budget.token_s:
        n = int(min(n, max(_LEAST_TOKENS, 0.4 * budget.left_s() / (budget.token_s * passes))))
    ids = ids[:n]
    say(f"reading {len(ids)} tokens without each of {inside.n_layers} layers")
    held: dict[str, Any] = {}
    trace, inputs = inside.trace(lambda: held.update(logs=budget.read(model, ids)))
    logs = held["logs"]
    if isinstance(logs, NotScored):
        return unobserved("W2", logs), ""
    found = []
    for layer in range(inside.n_layers):
        if budget.cancel.is_set():
            return unobserved("W2", "stopped by the user"), ""
        with inside.without(layer, inputs):
            other = budget.read(model, ids)
        if isinstance(other, NotScored):
            return unobserved("W2", other), ""
        saved = np.asarray(other, dtype=np.float64) - logs
        error = float(saved.std() / max(len(saved), 1) ** 0.5)
        found.append(_Without(layer, float(saved.mean()), error))
    return _judged(model, inside, ids, logs, found, trace, budget), ""


def _judged(
    model: Reading,
    inside: InsideView,
    ids: tuple[int, ...],
    logs: FloatArray,
    found: list[_Without],
    trace: Trace,
    budget: Budget,
) -> Observation:
    bad = [one for one in found if one.saved > _BETTER_NATS and one.saved > _ERRORS * one.error]
    inputs = profile_inputs(trace)
    if not bad:
        best = max(found, key=lambda one: one.saved)
        sentence = (
            f"Without any one of {len(found)} layers plain English is read worse or alike (best: "
            f"{best.saved:+.2f} nats saved without layer {best.layer})."
        )
        return observed("W2", Gate.PASS, sentence, saved=best.saved, **inputs)
    worst = max(bad, key=lambda one: one.saved)
    order = _order(model, inside, ids, logs, found, budget)
    sentence = (
        f"Without layer {worst.layer} plain English costs {worst.saved:.2f} nats a token less than with it: "
        f"layer {worst.layer} is damaged, or not in its place{_flow(trace, worst.layer)}.{order} {_AGAIN}"
    )
    return observed(
        "W2", Gate.FAIL, sentence, cause="layer", layer=float(worst.layer), saved=worst.saved, **inputs
    )


def _flow(trace: Trace, layer: int) -> str:
    """What the profile shows of the layer."""
    grown = float(trace.norms[layer + 1] / max(float(trace.norms[layer]), 1e-9))
    return (
        f" (it changes a state's length {grown:.2f} times, cosine to its input {trace.turns[layer + 1]:.2f})"
    )


def _order(
    model: Reading,
    inside: InsideView,
    ids: tuple[int, ...],
    logs: FloatArray,
    found: list[_Without],
    budget: Budget,
) -> str:
    """A sentence where exchanging the worst layer with another one restores the reading."""
    ranked = sorted(found, key=lambda one: -one.saved)
    first, alone = ranked[0].layer, ranked[0].saved
    near = [n for n in (first - 1, first + 1) if 0 <= n < inside.n_layers]
    best = (0.0, -1)
    for other in dict.fromkeys([*(one.layer for one in ranked[1:7]), *near]):
        order = list(range(inside.n_layers))
        order[first], order[other] = other, first
        with inside.ordered(order):
            tried = budget.read(model, ids)
        if not isinstance(tried, NotScored):
            best = max(best, (float((tried - logs).mean()), other))
    saved, other = best
    if saved < alone + _RESTORED:
        return ""
    pair = " and ".join(map(str, sorted((first, other))))
    return f" With layers {pair} exchanged it costs {saved:.2f} nats less: these two are swapped."


def rows_of_pairs(model: Reading, ids: tuple[int, ...], nll: float, budget: Budget) -> Observation | None:
    """W2 FAIL where q and k with their rows in the other order read far better; None else."""
    inside = model.inside()
    if inside is None:
        return None
    for interleaved in (True, False):
        with inside.rows_ordered(interleaved):
            logs = budget.read(model, ids)
        if isinstance(logs, NotScored):
            return None
        other = float(-logs.mean())
        if nll - other > 0.5 and other < _READS_NATS:
            sentence = (
                "The rows of q_proj and k_proj are in the order of another format (rotary pairs "
                "permuted): in "
                f"the other order plain English costs {other:.2f} nats a token instead of {nll:.2f}. The "
                "weights were converted wrongly: take them again from the model's source, or convert them "
                "anew with a current converter."
            )
            return observed("W2", Gate.FAIL, sentence, cause="q and k permuted", nll=nll, other=other)
    return None
