"""Detectors of a model in use: its first run, its modes, its devices, long runs (docs/doctor.md)."""

from __future__ import annotations

from collections.abc import Sequence

from exllama_guard.core.measures import Gate, Measure, NotScored
from exllama_guard.lifecycle import EX1_RATIO
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved
from exllama_guard.probes.measures.equivalence import DRIFT_BOUND, mean_interval, paired
from exllama_guard.probes.measures.logit_drift import FLOOR_FACTOR, LogitDrift
from exllama_guard.probes.measures.resonance import Trend

__all__ = [
    "context_drift",
    "long_run",
    "first_run",
    "json_of_modes",
    "quantised_spike",
    "shards",
    "tool_schema",
]

HANG_S = 120.0
LEAST_FLOOR = 1e-4  # nats; ours: what another order of float16 sums may change (EX5)
PARSE_RATE, VALID_RATE = 0.99, 0.98  # the JSON page of the seed study
CONTEXT_RISE = 0.10


def first_run(ratio: Measure, same_text: bool | None) -> Observation:
    """EX1 from the warm-up's runs: TTFT of run 1 over the later median, and whether the text was kept."""
    if isinstance(ratio, NotScored) and same_text is None:
        return unobserved("EX1", ratio)
    if same_text is False:
        sentence = "The first run wrote another greedy text than the later ones; wait for the warm-up fence."
        return observed("EX1", Gate.FAIL, sentence, ratio=ratio)
    if isinstance(ratio, NotScored):
        return unobserved("EX1", ratio)
    sentence = f"The first run took {ratio:.1f} times as long to its first token as the later ones."
    return observed("EX1", Gate.REVIEW if ratio > EX1_RATIO else Gate.PASS, sentence, ratio=ratio)


def quantised_spike(
    reference: Sequence[Measure],
    mode: Sequence[Measure],
    tokenizers: tuple[str | NotScored, str | NotScored],
) -> Observation:
    """EX2 from paired answer-side ΔS and the tokenizers' hashes; a differing tokenizer is the cause found."""
    first, second = tokenizers
    if isinstance(first, str) and isinstance(second, str) and first != second:
        sentence = (
            "The two modes have different tokenizers; take both from one source before comparing weights."
        )
        return observed("EX2", Gate.FAIL, sentence, reference=first, mode=second)
    interval = mean_interval(paired(reference, mode), 0.95)
    if isinstance(interval, NotScored):
        return unobserved("EX2", interval)
    sentence = (
        f"Answer-side ΔS differs by {interval.mean:+.3f} (95 % interval {interval.low:+.3f} to "
        f"{interval.high:+.3f}, {interval.n} items); the limit is +{DRIFT_BOUND:.2f}."
    )
    seen = interval.mean > DRIFT_BOUND and interval.low > 0.0
    return observed(
        "EX2", Gate.FAIL if seen else Gate.PASS, sentence, difference=interval.mean, low=interval.low
    )


def long_run(
    finite: bool | None, warm_is_cold: bool | None, distances: Sequence[Measure], trend: Trend | NotScored
) -> Observation:
    """EX3: bad logits, then a warm canary that is not the cold one, then drift of the context itself."""
    if finite is False:
        return observed(
            "EX3", Gate.FAIL, "NaN or Inf among the logits; the cache must be reset.", cause="logits"
        )
    if warm_is_cold is False:
        sentence = "A warm cache gives another greedy text than a cold one: reset the cache."
        return observed("EX3", Gate.FAIL, sentence, cause="cache")
    drift = context_drift(distances)
    if drift.verdict is Gate.FAIL or (isinstance(trend, Trend) and trend.gate is Gate.FAIL):
        why = drift.evidence if drift.verdict is Gate.FAIL else trend.sentence()  # type: ignore[union-attr]
        sentence = f"{why} This is the context, not the cache: a reset will not help; start a new chat."
        return observed("EX3", Gate.REVIEW, sentence, cause="context")
    if finite is None and warm_is_cold is None and drift.verdict is Gate.NOT_MEASURED:
        return unobserved("EX3", "neither logits, nor a canary, nor enough turns were seen")
    parts = [
        "the logits are finite" if finite else "",
        "warm and cold cache agree" if warm_is_cold else "",
        drift.evidence if drift.verdict is Gate.PASS else "",
    ]
    return observed("EX3", Gate.PASS, "; ".join(part for part in parts if part).rstrip(".") + ".")


def context_drift(distances: Sequence[Measure]) -> Observation:
    """CD1: the mean ΔS of the last 5 turns against that of the first 5."""
    scored = [value for value in distances if not isinstance(value, NotScored)]
    if len(scored) < 10:
        return unobserved("CD1", f"{len(scored)} measured turns; 10 are needed")
    rise = sum(scored[-5:]) / 5 - sum(scored[:5]) / 5
    sentence = f"Mean ΔS of the last 5 turns is {rise:+.2f} against the first 5."
    return observed("CD1", Gate.FAIL if rise > CONTEXT_RISE else Gate.PASS, sentence, rise=rise)


def tool_schema(calls: int, parsed: int, valid: int, with_prose: int) -> Observation:
    """EX4 over a window of tool calls."""
    if calls < 1:
        return unobserved("EX4", "no tool was called")
    parse, ok = parsed / calls, valid / calls
    sentence = (
        f"Of {calls} calls {parsed} were JSON, {valid} fitted their schema, {with_prose} stood among prose."
    )
    seen = parse < PARSE_RATE or ok < VALID_RATE or with_prose > 0
    return observed("EX4", Gate.FAIL if seen else Gate.PASS, sentence, parse_rate=parse, valid_rate=ok)


def json_of_modes(reference: tuple[int, int], mode: tuple[int, int]) -> Observation:
    """V3: valid JSON answers (valid, asked) of a mode against the reference, same prompts, greedy."""
    (before, asked_before), (after, asked) = reference, mode
    if not asked or not asked_before:
        return unobserved("V3", "no JSON was asked for")
    if before / asked_before < VALID_RATE:
        sentence = (
            f"The reference itself gave {before} valid of {asked_before}: this model does not keep JSON form."
        )
        return observed("V3", Gate.REVIEW, sentence, reference=before / asked_before, mode=after / asked)
    sentence = f"{after} of {asked} JSON answers were valid; the reference had {before} of {asked_before}."
    return observed(
        "V3", Gate.FAIL if after / asked < VALID_RATE else Gate.PASS, sentence, mode=after / asked
    )


def shards(
    before: str | None, now: str, drift: LogitDrift | None, floor: float, canary_s: float | None
) -> Observation:
    """EX5: the shard hash against the stored one, KL to the baseline against the floor, and a hang."""
    if canary_s is not None and canary_s > HANG_S:
        sentence = f"A canary took {canary_s:.0f} s (limit {HANG_S:.0f} s): the devices wait for each other."
        return observed("EX5", Gate.FAIL, sentence, canary_s=canary_s)
    if before is None:
        return unobserved("EX5", "no baseline yet; this load becomes it")
    least = max(floor, LEAST_FLOOR)
    if drift is not None and drift.kl > FLOOR_FACTOR * least:
        limit = FLOOR_FACTOR * least
        sentence = f"Mean KL to the baseline is {drift.kl:.4f} nats; {FLOOR_FACTOR:g} × floor is {limit:.4f}."
        return observed("EX5", Gate.FAIL, sentence, kl=drift.kl, floor=floor)
    if before != now:
        sentence = (
            "Devices, split or tensor parallelism changed since the baseline; compare the answers anew."
        )
        return observed("EX5", Gate.REVIEW, sentence, before=before, now=now)
    return observed("EX5", Gate.PASS, "Devices, split and backend are those of the baseline.", now=now)
