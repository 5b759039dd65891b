"""Detectors of a model's files and of how it reads: values in, an observation out (docs/doctor.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from exllama_guard.core.measures import Gate, Measure, NotScored
from exllama_guard.probes.doctor.shape import DEFAULT_ROPE, bases_of
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved
from exllama_guard.probes.measures.logit_drift import FLOOR_FACTOR, KL_LIMITS, LogitDrift

__all__ = [
    "filled_by_loader",
    "highest_id",
    "loader_against_reference",
    "not_finite",
    "plain_english",
    "rope_config",
    "rope_fit",
    "rope_pair",
    "sliding_window",
    "tokenizer_pair",
    "vocabulary",
    "weights_unreadable",
    "window_fit",
]

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


def rope_config(config: Mapping[str, Any], *, exllama: bool = False) -> Observation:
    """PC5 from config.json alone. `exllama`: it is read by ExLlamaV2, which looks at the top level only."""
    top = config.get("rope_theta")
    bases = bases_of(config)
    nested = (config.get("rope_parameters") or config.get("rope_scaling") or {}).get("rope_theta")
    inputs = {"top_level": _number(top), "rope_parameters": _number(nested)}
    if len(bases) > 1:
        told = ", ".join(f"{kind} attention {base:g}" for kind, base in bases.items())
        return observed("PC5", Gate.PASS, f"rope_theta by kind of layer: {told}.", **inputs)
    if top is not None and nested is not None and float(top) != float(nested):
        sentence = (
            f"config.json has rope_theta {top:g} at the top level and {nested:g} under rope_parameters; "
            "loaders disagree on which counts. Take the value of the model's own source in both places."
        )
        return observed("PC5", Gate.FAIL, sentence, **inputs)
    if top is None and nested is not None and float(nested) != DEFAULT_ROPE:
        return _nested_only(float(nested), exllama, inputs)
    if not bases:
        if config.get("model_type") not in _ROPE_FAMILIES:
            return unobserved("PC5", f"models of type {config.get('model_type')} may have no rope_theta")
        sentence = (
            f"config.json names no rope_theta; every loader will take {DEFAULT_ROPE:g}. Check the "
            "model's card."
        )
        return observed("PC5", Gate.REVIEW, sentence, **inputs)
    value = next(iter(bases.values()))
    return observed("PC5", Gate.PASS, f"rope_theta is {value:g} where every loader looks.", **inputs)


def _nested_only(base: float, exllama: bool, inputs: Mapping[str, float | None]) -> Observation:
    """A folder as transformers 5 saves it: right for it and for llama.cpp, misread by older readers."""
    remedy = (
        f"ExLlamaV2 and transformers before 5 look at the top level and take {DEFAULT_ROPE:g}: for these "
        f'write "rope_theta": {base:g} at the top level, too.'
    )
    sentence = f"rope_theta {base:g} stands under rope_parameters only. {remedy}"
    return observed("PC5", Gate.FAIL if exllama else Gate.PASS, sentence, **inputs)


def sliding_window(config: Mapping[str, Any]) -> Observation:
    """PC5 of a model with layers of sliding attention: the window must be there, and within the context."""
    kinds = config.get("layer_types") or ()
    family = config.get("model_type")
    sliding = "sliding_attention" in kinds or family in ("gemma2", "gemma3_text", "gemma3")
    window = config.get("sliding_window")
    if not sliding:
        return unobserved("PC5", "no layer has a sliding window")
    context = config.get("max_position_embeddings")
    if not isinstance(window, int) or window < 1 or (isinstance(context, int) and window >= context > 4096):
        sentence = (
            f"The model has layers with a sliding window, and sliding_window is {window}: these layers then "
            "read further back than they learned. Copy config.json from the model's own source."
        )
        return observed("PC5", Gate.FAIL, sentence)
    return observed("PC5", Gate.PASS, f"The sliding window is {window} tokens.", window=float(window))


def rope_pair(ours: Mapping[str, float], theirs: Mapping[str, float], where: str) -> Observation:
    """PC5 beside a reference: the bases of the model by kind of layer, against those of the reference."""
    kinds = [kind for kind in ours if kind in theirs] or [""]
    pairs = [(kind, _of_kind(ours, kind), _of_kind(theirs, kind)) for kind in kinds]
    inputs = {"base": pairs[0][1], "reference": pairs[0][2]}
    for kind, mine, other in pairs:
        if abs(mine / other - 1.0) > 0.01:
            layers = f" in layers of {kind} attention" if kind else ""
            sentence = (
                f"The model has rope_theta {mine:g}, the reference {other:g}{layers} ({where}): "
                "one of them is "
                "wrong. Take the value of the model's own source."
            )
            return observed("PC5", Gate.FAIL, sentence, base=mine, reference=other)
    told = ", ".join(f"{mine:g}" for _, mine, _ in pairs)
    return observed("PC5", Gate.PASS, f"rope_theta {told} is that of the reference.", **inputs)


def _of_kind(bases: Mapping[str, float], kind: str) -> float:
    """The base of a kind of layer; where the two tell other kinds, that of full attention."""
    return bases.get(kind) or bases.get("full") or bases.get("") or next(iter(bases.values()))


def highest_id(tokenizer: Mapping[str, Any]) -> int | None:
    """Highest id that a tokenizer.json can give; None where it has another form."""
    model = tokenizer.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    ids: list[int] = []
    if isinstance(vocab, dict):
        ids += [id_ for id_ in vocab.values() if isinstance(id_, int)]
    elif isinstance(vocab, list):
        ids.append(len(vocab) - 1)
    added = tokenizer.get("added_tokens")
    ids += [t["id"] for t in added or () if isinstance(t, dict) and isinstance(t.get("id"), int)]
    return max(ids, default=None)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def rope_fit(configured: float, nll: Mapping[float, float], tokens: int, kind: str = "") -> Observation:
    """PC5 from reading `tokens` of plain English: NLL a token by base, the configured one among them.

    The value is named as what reads best; which one is right only the model's source can tell.
    """
    if configured not in nll or len(nll) < 2:
        return unobserved("PC5", "the model was not read with other bases")
    best = min(nll, key=lambda base: nll[base])
    inputs = {f"nll_at_{base:g}": value for base, value in nll.items()}
    where = f" in layers of {kind} attention" if kind else ""
    if nll[configured] - nll[best] > BETTER_NATS:
        sentence = (
            f"With rope_theta {configured:g}{where} plain English costs {nll[configured]:.2f} nats a token, "
            f"with {best:g} only {nll[best]:.2f}: the configured base is wrong. Take rope_theta from the "
            f"model's own source; of those that were read {best:g} fits best."
        )
        return observed("PC5", Gate.FAIL, sentence, configured=configured, kind=kind, **inputs)
    sentence = (
        f"rope_theta {configured:g}{where} reads {tokens} tokens of plain English at "
        f"{nll[configured]:.2f} nats "
        f"a token; no other base is better by {BETTER_NATS:g}."
    )
    return observed("PC5", Gate.PASS, sentence, configured=configured, kind=kind, **inputs)


def window_fit(configured: int, nll: Mapping[int, float], tokens: int) -> Observation:
    """PC5 from reading with other sliding windows: NLL a token by window."""
    best = min(nll, key=lambda window: nll[window])
    inputs = {f"nll_at_window_{window}": value for window, value in nll.items()}
    if nll[configured] - nll[best] > BETTER_NATS:
        sentence = (
            f"With its sliding window of {configured} tokens plain English costs "
            f"{nll[configured]:.2f} nats a "
            f"token, with {best} only {nll[best]:.2f}: the model's window was lost or changed. Take "
            f"sliding_window from the config.json of the model's own source; {best} fits best."
        )
        return observed("PC5", Gate.FAIL, sentence, configured=float(configured), **inputs)
    sentence = f"No shorter sliding window than {configured} reads {tokens} tokens better."
    return observed("PC5", Gate.PASS, sentence, configured=float(configured), **inputs)


def not_finite(where: str, layer: float | None) -> Observation:
    """W2 from reading: NaN or infinite probabilities, and from which layer on."""
    sentence = (
        f"Not finite: what the model computes is NaN or infinite{' ' + where if where else ''}. "
        "The weights are "
        "damaged, or overflow in this precision: download them again from the model's source, or load the "
        "model in bfloat16 or float32."
    )
    return observed("W2", Gate.FAIL, sentence, cause="not finite", layer=layer)


def weights_unreadable(nll: float) -> Observation:
    """W2 from reading: plain English means nothing to the model, although its tokens are its own."""
    sentence = (
        f"Plain English costs {nll:.1f} nats a token (SmolLM2-135M: 2.8), and the tokenizer is the "
        "model's own: the weights are damaged, or config.json is another model's (layers, heads, "
        "activation, scales). Download both again from the model's source."
    )
    return observed("W2", Gate.FAIL, sentence, cause="unreadable", nll=nll)


def filled_by_loader(names: Sequence[str]) -> Observation:
    """W1 from loading: tensors that the files lack, so that they hold random numbers."""
    sentence = (
        f"{len(names)} tensors are missing from the files and were filled with random numbers "
        f"({', '.join(names[:3])}): download the model's files again from its source, and take "
        "config.json and "
        "weights from one place."
    )
    return observed("W1", Gate.FAIL, sentence, filled=float(len(names)))


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


def plain_english(nll: Measure, *, belongs: bool | None = None) -> Observation:
    """PC1 from reading: NLL a token of plain English. Only a foreign tokenizer or damage is this bad."""
    if isinstance(nll, NotScored):
        return unobserved("PC1", nll)
    if not math.isfinite(nll):
        return not_finite("", None)
    if nll > UNREADABLE_NATS:
        cause = (
            "the tokenizer is another model's, as a word and its capitalised form are nothing alike to this "
            "model. Copy the tokenizer's files"
            if belongs is False
            else "the tokenizer is another model's, or the weights are damaged. Copy both again"
        )
        sentence = (
            f"Plain English costs {nll:.1f} nats a token (SmolLM2-135M: 2.8): {cause} from the model's own "
            "source."
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
