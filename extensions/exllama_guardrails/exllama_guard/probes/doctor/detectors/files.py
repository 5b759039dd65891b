"""Detectors of a model's files and of how it reads: values in, an observation out (docs/doctor.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exllama_guard.core.measures import Gate, Measure, NotScored
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved
from exllama_guard.probes.measures.logit_drift import FLOOR_FACTOR, KL_LIMITS, LogitDrift

__all__ = [
    "declared_base",
    "loader_against_reference",
    "plain_english",
    "rope_config",
    "rope_fit",
    "rope_pair",
    "tokenizer_pair",
    "vocabulary",
]

DEFAULT_ROPE = 10_000.0  # what loaders take where a configuration says nothing
# A base that reads plain English better by this is the right one. Over 1,000 tokens SmolLM2 in several forms
# read it at least 0.066 nats worse with five times or a tenth of its own base, and better with none of them
# (tests/bench/rope.py, docs/doctor.md).
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


def rope_config(config: Mapping[str, Any]) -> Observation:
    """PC5 from config.json alone: the base must stand at the top level, where older loaders look."""
    top = config.get("rope_theta")
    nested = (config.get("rope_parameters") or config.get("rope_scaling") or {}).get("rope_theta")
    inputs = {"top_level": _number(top), "rope_parameters": _number(nested)}
    if top is None and nested is not None and float(nested) != DEFAULT_ROPE:
        sentence = (
            f"config.json has rope_theta {nested:g} under rope_parameters only. ExLlamaV2 and older "
            f"transformers look at the top level and take {DEFAULT_ROPE:g}: write "
            f'"rope_theta": {nested:g} at the top level.'
        )
        return observed("PC5", Gate.FAIL, sentence, **inputs)
    if top is not None and nested is not None and float(top) != float(nested):
        sentence = (
            f"config.json has rope_theta {top:g} at the top level and {nested:g} under rope_parameters; "
            "loaders disagree on which counts. Set both to the model's own value."
        )
        return observed("PC5", Gate.FAIL, sentence, **inputs)
    if top is None and nested is None:
        if config.get("model_type") not in _ROPE_FAMILIES:
            return unobserved("PC5", f"models of type {config.get('model_type')} may have no rope_theta")
        sentence = (
            f"config.json names no rope_theta; every loader will take {DEFAULT_ROPE:g}. Check the "
            "model's card."
        )
        return observed("PC5", Gate.REVIEW, sentence, **inputs)
    value = _number(top if top is not None else nested) or DEFAULT_ROPE
    return observed("PC5", Gate.PASS, f"rope_theta is {value:g} where every loader looks.", **inputs)


def declared_base(config: Mapping[str, Any]) -> float | None:
    """The RoPE base that a configuration tells, wherever it stands; None where it tells none."""
    nested = (config.get("rope_parameters") or config.get("rope_scaling") or {}).get("rope_theta")
    return _number(config.get("rope_theta")) or _number(nested)


def rope_pair(ours: float, theirs: float, where: str) -> Observation:
    """PC5 beside a reference: the base of the model against that of the reference, as `where` has them."""
    inputs = {"base": ours, "reference": theirs}
    if abs(ours / theirs - 1.0) <= 0.01:
        return observed("PC5", Gate.PASS, f"rope_theta {ours:g} is that of the reference.", **inputs)
    sentence = (
        f"The model has rope_theta {ours:g}, the reference {theirs:g} ({where}): one of them is wrong. "
        "Take the value of the model's own source."
    )
    return observed("PC5", Gate.FAIL, sentence, **inputs)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def rope_fit(configured: float, nll: Mapping[float, float], tokens: int) -> Observation:
    """PC5 from reading `tokens` of plain English: NLL a token by base, the configured one among them."""
    if configured not in nll or len(nll) < 2:
        return unobserved("PC5", "the model was not read with other bases")
    best = min(nll, key=lambda base: nll[base])
    inputs = {f"nll_at_{base:g}": value for base, value in nll.items()}
    if nll[configured] - nll[best] > BETTER_NATS:
        sentence = (
            f"With rope_theta {configured:g} plain English costs {nll[configured]:.2f} nats a token, with "
            f"{best:g} only {nll[best]:.2f}: the configured base is wrong. Set rope_theta to {best:g} "
            "or to the "
            "value of the model's own source."
        )
        return observed("PC5", Gate.FAIL, sentence, configured=configured, **inputs)
    sentence = (
        f"rope_theta {configured:g} reads {tokens} tokens of plain English at {nll[configured]:.2f} nats a "
        f"token; no other base is better by {BETTER_NATS:g}."
    )
    return observed("PC5", Gate.PASS, sentence, configured=configured, **inputs)


def vocabulary(vocab_size: int | None, highest_id: int | None) -> Observation:
    """PC1 from files: ids that the tokenizer can give against the rows of the model's embedding."""
    if vocab_size is None or highest_id is None:
        return unobserved("PC1", "config.json or tokenizer.json does not tell its vocabulary")
    inputs = {"vocab_size": float(vocab_size), "highest_id": float(highest_id)}
    if highest_id >= vocab_size:
        sentence = (
            f"The tokenizer gives ids up to {highest_id}, the model has {vocab_size}: they do not "
            "belong together."
        )
        return observed("PC1", Gate.FAIL, sentence, **inputs)
    if highest_id + 1 < 0.9 * vocab_size:
        sentence = (
            f"The tokenizer uses {highest_id + 1} of the model's {vocab_size} ids; check that it "
            "is the model's own."
        )
        return observed("PC1", Gate.REVIEW, sentence, **inputs)
    return observed(
        "PC1", Gate.PASS, f"Tokenizer ({highest_id + 1} ids) and model ({vocab_size}) fit.", **inputs
    )


def plain_english(nll: Measure) -> Observation:
    """PC1 from reading: NLL a token of plain English. Only a foreign tokenizer or damage is this bad."""
    if isinstance(nll, NotScored):
        return unobserved("PC1", nll)
    if nll > UNREADABLE_NATS:
        sentence = (
            f"Plain English costs {nll:.1f} nats a token (SmolLM2-135M: 2.8): the tokenizer is "
            "another "
            "model's, or the weights are damaged. Copy tokenizer files from the model's own source."
        )
        return observed("PC1", Gate.FAIL, sentence, nll=nll)
    return observed("PC1", Gate.PASS, f"Plain English costs {nll:.2f} nats a token.", nll=nll)


def tokenizer_pair(
    first: str | NotScored, second: str | NotScored, ids: tuple[tuple[int, ...], tuple[int, ...]] | None
) -> Observation:
    """PC1 from two folders: the ids of one probe text where they can be had, else the files' hashes."""
    if ids is not None:
        if ids[0] == ids[1]:
            return observed("PC1", Gate.PASS, f"Both tokenizers give the same {len(ids[0])} ids.")
        at = next((i for i, (a, b) in enumerate(zip(*ids, strict=False)) if a != b), min(map(len, ids)))
        sentence = f"The tokenizers differ from id {at} of a plain text on: one of them is not the model's."
        return observed("PC1", Gate.FAIL, sentence, first_difference=float(at))
    if isinstance(first, NotScored) or isinstance(second, NotScored):
        return unobserved("PC1", first if isinstance(first, NotScored) else second)
    same = first == second
    sentence = (
        "The tokenizers' files are equal." if same else "The tokenizers' files differ; compare their ids."
    )
    return observed("PC1", Gate.PASS if same else Gate.REVIEW, sentence, first=first, second=second)


def loader_against_reference(drift: LogitDrift | NotScored, floor: LogitDrift | NotScored) -> Observation:
    """V5: fixed tokens through both; a loader that computes something else need not look wrong."""
    if isinstance(drift, NotScored):
        return unobserved("V5", drift)
    own = floor.kl if isinstance(floor, LogitDrift) else 0.0
    seen = drift.kl > KL_LIMITS[0] and drift.kl > FLOOR_FACTOR * own
    sentence = (
        f"On {drift.tokens} fixed tokens mean KL is {drift.kl:.3f} nats (same loader twice: {own:.3f}), NLL "
        f"{drift.delta_nll:+.2f} a token, same likeliest token in {drift.top1:.0%}."
    )
    if seen:
        sentence += " The model is not computed as the reference computes it; the text may still look fluent."
    gate = Gate.PASS if not seen else Gate.FAIL if drift.kl > KL_LIMITS[1] else Gate.REVIEW
    return observed("V5", gate, sentence, kl=drift.kl, floor=own, delta_nll=drift.delta_nll, top1=drift.top1)
