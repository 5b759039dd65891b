"""Detectors of a model, its files and its loader: values in, an observation out (docs/doctor.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exllama_guard.core.equivalence import DRIFT_BOUND, mean_interval, paired
from exllama_guard.core.logit_drift import FLOOR_FACTOR, KL_LIMITS, LogitDrift
from exllama_guard.core.records import Gate, Measure, NotScored
from exllama_guard.core.resonance import Trend
from exllama_guard.core.symptoms import Observation, observed, unobserved
from exllama_guard.core.warmup import EX1_RATIO

__all__ = [
    "context_drift",
    "long_run",
    "first_run",
    "json_of_modes",
    "loader_against_reference",
    "plain_english",
    "quantised_spike",
    "rope_config",
    "rope_fit",
    "shards",
    "tokenizer_pair",
    "tool_schema",
    "vocabulary",
]

HANG_S = 120.0
LEAST_FLOOR = 1e-4  # nats; ours: what another order of float16 sums may change (EX5)
PARSE_RATE, VALID_RATE = 0.99, 0.98  # the JSON page of the seed study
CONTEXT_RISE = 0.10
DEFAULT_ROPE = 10_000.0  # what loaders take where a configuration says nothing
# A base that reads plain English better by this is the right one. Measured on the fixed text with SmolLM2 in
# float32: its own base 100000 costs 2.807 nats a token, 10000 2.887, 500000 2.830, 1000000 2.868. Over texts,
# dtypes, rounding and noise no other base read 240 tokens better by more than 0.008 (tests/bench/rope.py).
BETTER_NATS = 0.05
UNREADABLE_NATS = 7.0  # NLL a token of plain English; an untrained model has ln 49152 = 10.8, a small one 2.8

_ROPE_FAMILIES = frozenset(
    [
        "llama",
        "mistral",
        "mixtral",
        "qwen2",
        "qwen3",
        "phi3",
        "gemma",
        "gemma2",
        "gemma3",
        "smollm3",
        "yi",
        "stablelm",
    ]
)


def first_run(ratio: Measure, same_text: bool | None) -> Observation:
    """EX1 from the warm-up's runs: TTFT of run 1 over the later median, and whether the text was kept."""
    if isinstance(ratio, NotScored) and same_text is None:
        return unobserved("EX1", ratio)
    if same_text is False:
        told = "The first run wrote another greedy text than the later ones; wait for the warm-up fence."
        return observed("EX1", Gate.FAIL, told, ratio=ratio)
    if isinstance(ratio, NotScored):
        return unobserved("EX1", ratio)
    told = f"The first run took {ratio:.1f} times as long to its first token as the later ones."
    return observed("EX1", Gate.REVIEW if ratio > EX1_RATIO else Gate.PASS, told, ratio=ratio)


def quantised_spike(
    reference: Sequence[Measure],
    mode: Sequence[Measure],
    tokenizers: tuple[str | NotScored, str | NotScored],
) -> Observation:
    """EX2 from paired answer-side ΔS and the tokenizers' hashes; a differing tokenizer is the cause found."""
    first, second = tokenizers
    if isinstance(first, str) and isinstance(second, str) and first != second:
        told = "The two modes have different tokenizers; take both from one source before comparing weights."
        return observed("EX2", Gate.FAIL, told, reference=first, mode=second)
    interval = mean_interval(paired(reference, mode), 0.95)
    if isinstance(interval, NotScored):
        return unobserved("EX2", interval)
    told = (
        f"Answer-side ΔS differs by {interval.mean:+.3f} (95 % interval {interval.low:+.3f} to "
        f"{interval.high:+.3f}, {interval.n} items); the limit is +{DRIFT_BOUND:.2f}."
    )
    seen = interval.mean > DRIFT_BOUND and interval.low > 0.0
    return observed("EX2", Gate.FAIL if seen else Gate.PASS, told, difference=interval.mean, low=interval.low)


def long_run(
    finite: bool | None, warm_is_cold: bool | None, distances: Sequence[Measure], trend: Trend | NotScored
) -> Observation:
    """EX3: bad logits, then a warm canary that is not the cold one, then drift of the context itself."""
    if finite is False:
        return observed(
            "EX3", Gate.FAIL, "NaN or Inf among the logits; the cache must be reset.", cause="logits"
        )
    if warm_is_cold is False:
        told = "A warm cache gives another greedy text than a cold one: reset the cache."
        return observed("EX3", Gate.FAIL, told, cause="cache")
    drift = context_drift(distances)
    if drift.verdict is Gate.FAIL or (isinstance(trend, Trend) and trend.gate is Gate.FAIL):
        why = drift.evidence if drift.verdict is Gate.FAIL else trend.sentence()  # type: ignore[union-attr]
        told = f"{why} This is the context, not the cache: a reset will not help; start a new chat."
        return observed("EX3", Gate.REVIEW, told, cause="context")
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
    told = f"Mean ΔS of the last 5 turns is {rise:+.2f} against the first 5."
    return observed("CD1", Gate.FAIL if rise > CONTEXT_RISE else Gate.PASS, told, rise=rise)


def tool_schema(calls: int, parsed: int, valid: int, with_prose: int) -> Observation:
    """EX4 over a window of tool calls."""
    if calls < 1:
        return unobserved("EX4", "no tool was called")
    parse, ok = parsed / calls, valid / calls
    told = (
        f"Of {calls} calls {parsed} were JSON, {valid} fitted their schema, {with_prose} stood among prose."
    )
    seen = parse < PARSE_RATE or ok < VALID_RATE or with_prose > 0
    return observed("EX4", Gate.FAIL if seen else Gate.PASS, told, parse_rate=parse, valid_rate=ok)


def json_of_modes(reference: tuple[int, int], mode: tuple[int, int]) -> Observation:
    """V3: valid JSON answers (valid, asked) of a mode against the reference, same prompts, greedy."""
    (before, asked_before), (after, asked) = reference, mode
    if not asked or not asked_before:
        return unobserved("V3", "no JSON was asked for")
    if before / asked_before < VALID_RATE:
        told = (
            f"The reference itself gave {before} valid of {asked_before}: this model does not keep JSON form."
        )
        return observed("V3", Gate.REVIEW, told, reference=before / asked_before, mode=after / asked)
    told = f"{after} of {asked} JSON answers were valid; the reference had {before} of {asked_before}."
    return observed("V3", Gate.FAIL if after / asked < VALID_RATE else Gate.PASS, told, mode=after / asked)


def shards(
    before: str | None, now: str, drift: LogitDrift | None, floor: float, canary_s: float | None
) -> Observation:
    """EX5: the shard hash against the stored one, KL to the baseline against the floor, and a hang."""
    if canary_s is not None and canary_s > HANG_S:
        told = f"A canary took {canary_s:.0f} s (limit {HANG_S:.0f} s): the devices wait for each other."
        return observed("EX5", Gate.FAIL, told, canary_s=canary_s)
    if before is None:
        return unobserved("EX5", "no baseline yet; this load becomes it")
    least = max(floor, LEAST_FLOOR)
    if drift is not None and drift.kl > FLOOR_FACTOR * least:
        limit = FLOOR_FACTOR * least
        told = f"Mean KL to the baseline is {drift.kl:.4f} nats; {FLOOR_FACTOR:g} × floor is {limit:.4f}."
        return observed("EX5", Gate.FAIL, told, kl=drift.kl, floor=floor)
    if before != now:
        told = "Devices, split or tensor parallelism changed since the baseline; compare the answers anew."
        return observed("EX5", Gate.REVIEW, told, before=before, now=now)
    return observed("EX5", Gate.PASS, "Devices, split and backend are those of the baseline.", now=now)


# --- files ----------------------------------------------------------------------------------------------


def rope_config(config: Mapping[str, Any]) -> Observation:
    """PC5 from config.json alone: the base must stand at the top level, where older loaders look."""
    top = config.get("rope_theta")
    nested = (config.get("rope_parameters") or config.get("rope_scaling") or {}).get("rope_theta")
    inputs = {"top_level": _number(top), "rope_parameters": _number(nested)}
    if top is None and nested is not None and float(nested) != DEFAULT_ROPE:
        told = (
            f"config.json has rope_theta {nested:g} under rope_parameters only. ExLlamaV2 and older "
            f"transformers look at the top level and take {DEFAULT_ROPE:g}: write "
            f'"rope_theta": {nested:g} at the top level.'
        )
        return observed("PC5", Gate.FAIL, told, **inputs)
    if top is not None and nested is not None and float(top) != float(nested):
        told = (
            f"config.json has rope_theta {top:g} at the top level and {nested:g} under rope_parameters; "
            "loaders disagree on which counts. Set both to the model's own value."
        )
        return observed("PC5", Gate.FAIL, told, **inputs)
    if top is None and nested is None:
        if config.get("model_type") not in _ROPE_FAMILIES:
            return unobserved("PC5", f"models of type {config.get('model_type')} may have no rope_theta")
        told = (
            f"config.json names no rope_theta; every loader will take {DEFAULT_ROPE:g}. Check the "
            "model's card."
        )
        return observed("PC5", Gate.REVIEW, told, **inputs)
    value = _number(top if top is not None else nested) or DEFAULT_ROPE
    return observed("PC5", Gate.PASS, f"rope_theta is {value:g} where every loader looks.", **inputs)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def rope_fit(configured: float, nll: Mapping[float, float]) -> Observation:
    """PC5 from reading plain English: NLL a token by base, the configured one among them."""
    if configured not in nll or len(nll) < 2:
        return unobserved("PC5", "the model was not read with other bases")
    best = min(nll, key=lambda base: nll[base])
    inputs = {f"nll_at_{base:g}": value for base, value in nll.items()}
    if nll[configured] - nll[best] > BETTER_NATS:
        told = (
            f"With rope_theta {configured:g} plain English costs {nll[configured]:.2f} nats a token, with "
            f"{best:g} only {nll[best]:.2f}: the configured base is wrong. Set rope_theta to {best:g} "
            "or to the "
            "value of the model's own source."
        )
        return observed("PC5", Gate.FAIL, told, configured=configured, **inputs)
    told = (
        f"rope_theta {configured:g} reads plain English at {nll[configured]:.2f} nats a token; no "
        f"other base is better by {BETTER_NATS:g}."
    )
    return observed("PC5", Gate.PASS, told, configured=configured, **inputs)


def vocabulary(vocab_size: int | None, highest_id: int | None) -> Observation:
    """PC1 from files: ids that the tokenizer can give against the rows of the model's embedding."""
    if vocab_size is None or highest_id is None:
        return unobserved("PC1", "config.json or tokenizer.json does not tell its vocabulary")
    inputs = {"vocab_size": float(vocab_size), "highest_id": float(highest_id)}
    if highest_id >= vocab_size:
        told = (
            f"The tokenizer gives ids up to {highest_id}, the model has {vocab_size}: they do not "
            "belong together."
        )
        return observed("PC1", Gate.FAIL, told, **inputs)
    if highest_id + 1 < 0.9 * vocab_size:
        told = (
            f"The tokenizer uses {highest_id + 1} of the model's {vocab_size} ids; check that it "
            "is the model's own."
        )
        return observed("PC1", Gate.REVIEW, told, **inputs)
    return observed(
        "PC1", Gate.PASS, f"Tokenizer ({highest_id + 1} ids) and model ({vocab_size}) fit.", **inputs
    )


def plain_english(nll: Measure) -> Observation:
    """PC1 from reading: NLL a token of plain English. Only a foreign tokenizer or damage is this bad."""
    if isinstance(nll, NotScored):
        return unobserved("PC1", nll)
    if nll > UNREADABLE_NATS:
        told = (
            f"Plain English costs {nll:.1f} nats a token (SmolLM2-135M: 2.8): the tokenizer is "
            "another "
            "model's, or the weights are damaged. Copy tokenizer files from the model's own source."
        )
        return observed("PC1", Gate.FAIL, told, nll=nll)
    return observed("PC1", Gate.PASS, f"Plain English costs {nll:.2f} nats a token.", nll=nll)


def tokenizer_pair(
    first: str | NotScored, second: str | NotScored, ids: tuple[tuple[int, ...], tuple[int, ...]] | None
) -> Observation:
    """PC1 from two folders: the ids of one probe text where they can be had, else the files' hashes."""
    if ids is not None:
        if ids[0] == ids[1]:
            return observed("PC1", Gate.PASS, f"Both tokenizers give the same {len(ids[0])} ids.")
        at = next((i for i, (a, b) in enumerate(zip(*ids, strict=False)) if a != b), min(map(len, ids)))
        told = f"The tokenizers differ from id {at} of a plain text on: one of them is not the model's."
        return observed("PC1", Gate.FAIL, told, first_difference=float(at))
    if isinstance(first, NotScored) or isinstance(second, NotScored):
        return unobserved("PC1", first if isinstance(first, NotScored) else second)
    same = first == second
    told = "The tokenizers' files are equal." if same else "The tokenizers' files differ; compare their ids."
    return observed("PC1", Gate.PASS if same else Gate.REVIEW, told, first=first, second=second)


def loader_against_reference(drift: LogitDrift | NotScored, floor: LogitDrift | NotScored) -> Observation:
    """V5: fixed tokens through both; a loader that computes something else need not look wrong."""
    if isinstance(drift, NotScored):
        return unobserved("V5", drift)
    own = floor.kl if isinstance(floor, LogitDrift) else 0.0
    seen = drift.kl > KL_LIMITS[0] and drift.kl > FLOOR_FACTOR * own
    told = (
        f"On {drift.tokens} fixed tokens mean KL is {drift.kl:.3f} nats (same loader twice: {own:.3f}), NLL "
        f"{drift.delta_nll:+.2f} a token, same likeliest token in {drift.top1:.0%}."
    )
    if seen:
        told += " The model is not computed as the reference computes it; the text may still look fluent."
    gate = Gate.PASS if not seen else Gate.FAIL if drift.kl > KL_LIMITS[1] else Gate.REVIEW
    return observed("V5", gate, told, kl=drift.kl, floor=own, delta_nll=drift.delta_nll, top1=drift.top1)
