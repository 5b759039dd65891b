"""What a configuration says of a model's shape: a folder's config.json and a GGUF's metadata as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Shape", "bases_of", "shape_of_config", "shape_of_gguf", "text_part"]

DEFAULT_ROPE = 10_000.0  # what loaders take where a configuration says nothing
# Whose projections are named q_proj, k_proj, up_proj and have the shapes that their configuration says.
PLAIN_FAMILIES = frozenset(
    [
        "llama",
        "mistral",
        "qwen2",
        "qwen3",
        "gemma",
        "gemma2",
        "gemma3",
        "gemma3_text",
        "stablelm",
        "smollm3",
        "olmo",
        "olmo2",
        "granite",
    ]
)
_TIED = frozenset(["gemma", "gemma2", "gemma3", "gemma3_text", "smollm3", "cohere", "cohere2", "phi4flash"])


@dataclass(frozen=True, slots=True)
class Shape:
    """Numbers of a configuration; None where it does not tell. `ours`: in which words a reader finds it."""

    source: str  # config.json, or the GGUF's metadata
    family: str
    layers: int | None = None
    hidden: int | None = None
    inner: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    vocabulary: int | None = None
    tied: bool = True  # whether the output shares the embedding's weights


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part of a multimodal configuration."""
    part = config.get("text_config")
    return part if isinstance(part, Mapping) else config


def shape_of_config(config: Mapping[str, Any]) -> Shape:
    """The shape that a config.json tells."""
    text = text_part(config)
    family = str(text.get("model_type", ""))
    heads, hidden = _whole(text, "num_attention_heads", "n_head"), _whole(text, "hidden_size", "n_embd")
    told = config.get("tie_word_embeddings", text.get("tie_word_embeddings"))
    plain = family in PLAIN_FAMILIES
    return Shape(
        source="config.json",
        family=family,
        layers=_whole(text, "num_hidden_layers", "n_layer", "num_layers"),
        hidden=hidden,
        inner=_whole(text, "intermediate_size") if plain else None,
        heads=heads,
        kv_heads=_whole(text, "num_key_value_heads") or heads,
        head_dim=_whole(text, "head_dim") or (hidden // heads if hidden and heads else None),
        vocabulary=_whole(text, "vocab_size"),
        tied=bool(told) if told is not None else family in _TIED or not plain,
    )


def shape_of_gguf(metadata: Mapping[str, Any]) -> Shape:
    """The shape that a GGUF's metadata tells."""
    arch = str(metadata.get("general.architecture", ""))
    told = {key.removeprefix(f"{arch}."): value for key, value in metadata.items()}
    words = metadata.get("tokenizer.ggml.tokens")
    heads, hidden = _whole(told, "attention.head_count"), _whole(told, "embedding_length")
    return Shape(
        source="the GGUF's metadata",
        family=arch,
        layers=_whole(told, "block_count"),
        hidden=hidden,
        inner=_whole(told, "feed_forward_length"),
        heads=heads,
        kv_heads=_whole(told, "attention.head_count_kv") or heads,
        head_dim=_whole(told, "attention.key_length") or (hidden // heads if hidden and heads else None),
        vocabulary=len(words) if isinstance(words, list) else None,
    )


def bases_of(config: Mapping[str, Any]) -> dict[str, float]:
    """RoPE base of each kind of layer, under `` where all have one; empty where it tells none."""
    text = text_part(config)
    nested = text.get("rope_parameters") or text.get("rope_scaling") or {}
    by_kind = {
        str(kind).removesuffix("_attention"): float(one["rope_theta"])
        for kind, one in (nested.items() if isinstance(nested, Mapping) else ())
        if isinstance(one, Mapping) and isinstance(one.get("rope_theta"), (int, float))
    }
    if by_kind:
        return by_kind
    top = text.get("rope_theta")
    base = top if isinstance(top, (int, float)) else nested.get("rope_theta")
    local = text.get("rope_local_base_freq")
    if isinstance(local, (int, float)):
        full = float(base) if isinstance(base, (int, float)) else 1_000_000.0
        return {"full": full, "sliding": float(local)}
    return {"": float(base)} if isinstance(base, (int, float)) else {}


def _whole(told: Mapping[str, Any], *names: str) -> int | None:
    """The first of these that is a positive whole number."""
    values = (told.get(name) for name in names)
    return next((v for v in values if isinstance(v, int) and not isinstance(v, bool) and v > 0), None)
