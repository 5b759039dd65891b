"""Detectors of weight files: are all tensors there, of the shape that the configuration tells (W1)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from exllama_guard.backends import Layout, Tensor
from exllama_guard.core.measures import Gate
from exllama_guard.probes.doctor.shape import PLAIN_FAMILIES, Shape
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved

__all__ = ["LAYER", "adapter_fits", "by_layer", "in_words", "measurement_fits", "observe_weight_files"]

LAYER = re.compile(r"(?P<before>.*?)\b(?:layers|h|blocks)\.(?P<layer>\d+)\.(?P<tail>.*)")
_OTHER_TOWERS = re.compile(r"vision|visual|audio|encoder|mtp|projector")
_EMBEDDING = re.compile(r"(?:embed_tokens|wte|embed_in|word_embeddings)\.weight$")
_OUTPUT = re.compile(r"(?:^|\.)(?:lm_head|embed_out|output)\.(?:weight|q_weight|qweight|trellis)$")
_FINAL_NORM = re.compile(r"(?:^|\.)(?:norm|ln_f|final_layer_norm|final_layernorm)\.weight$")
# The tensors that only weights packed by these methods have.
_PACKED = {"exl2": ".q_weight", "exl3": ".trellis", "gptq": ".qweight", "awq": ".qweight"}
_AGAIN = "download the model's files again from its source"
_SMALL_SHARE = 0.25  # of the layers: more than these that lack a tensor are a kind of their own


def observe_weight_files(
    layout: Layout, shape: Shape, quantised_by: str, extra_layers: int = 0
) -> Observation:
    """W1: the worst of what the headers show; PASS where every tensor that is looked for is there."""
    if layout.unreadable:
        return observed("W1", Gate.FAIL, " ".join(layout.unreadable), unreadable=layout.unreadable[0])
    if layout.missing:
        sentence = (
            f"{len(layout.missing)} of the weights' files that model.safetensors.index.json names are not "
            f"there: {', '.join(layout.missing[:4])}. Download them from the model's source."
        )
        return observed("W1", Gate.FAIL, sentence, missing=float(len(layout.missing)))
    if not layout.tensors:
        return unobserved("W1", "no safetensors or GGUF weights, whose headers could be read")
    problems = [
        *_layers(layout.tensors, shape, extra_layers),
        *_rows(layout.tensors, shape),
        *_heads(layout.tensors, shape),
        *_output(layout.tensors, shape),
        *_types(layout.tensors, quantised_by),
    ]
    if problems:
        return observed("W1", Gate.FAIL, " ".join(problems[:3]), problems=float(len(problems)))
    layers = len(by_layer(layout.tensors))
    sentence = f"All {len(layout.tensors)} tensors of {layers} layers are there, as {shape.source} has them."
    return observed("W1", Gate.PASS, sentence, tensors=float(len(layout.tensors)))


def by_layer(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """The language model's tensors by layer, and by what stands after the layer's number."""
    stacks: dict[str, dict[int, dict[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        found = LAYER.fullmatch(name)
        if found and not _OTHER_TOWERS.search(found["before"]):
            layers = stacks.setdefault(found["before"], {})
            layers.setdefault(int(found["layer"]), {})[found["tail"]] = tensor
    return max(stacks.values(), key=len, default={})


def in_words(layers: list[int]) -> str:
    """`layer 5`, `layers 24 to 29`, `layers 3, 7 and 9`."""
    if len(layers) == 1:
        return f"layer {layers[0]}"
    if layers == list(range(layers[0], layers[-1] + 1)):
        return f"layers {layers[0]} to {layers[-1]}"
    shown = layers[:8]
    more = f" and {len(layers) - 8} more" if len(layers) > 8 else ""
    return f"layers {', '.join(map(str, shown[:-1]))}{' and ' if not more else ', '}{shown[-1]}{more}"


def _layers(tensors: Mapping[str, Tensor], shape: Shape, extra: int) -> Iterator[str]:
    layers = by_layer(tensors)
    if not layers:
        return
    told = shape.layers
    wanted = set(range(told if told else max(layers) + 1))
    missing, more = sorted(wanted - set(layers)), sorted(set(layers) - wanted)
    if missing:
        yield (
            f"{shape.source} tells {len(wanted)} layers, and the weights of {in_words(missing)} are missing: "
            f"{_AGAIN}."
        )
    if len(more) > extra:
        yield (
            f"The weights have {len(layers)} layers and {shape.source} tells {told}: {in_words(more)} would "
            f"not be used. Take config.json and the weights from one source."
        )
    for layer, tails in _incomplete(layers).items():
        yield f"Layer {layer} lacks {', '.join(tails[:3])}, which the other layers have: {_AGAIN}."


def _incomplete(layers: Mapping[int, Mapping[str, Tensor]]) -> dict[int, list[str]]:
    """Layers that lack tensors and have none of their own, where only a few are so."""
    kinds = Counter(frozenset(tails) for tails in layers.values())
    whole = max(kinds, key=lambda kind: (kinds[kind], len(kind)))
    found = {layer: sorted(whole - set(tails)) for layer, tails in layers.items() if set(tails) < whole}
    return found if len(found) <= max(1, _SMALL_SHARE * len(layers)) else {}


def _rows(tensors: Mapping[str, Tensor], shape: Shape) -> Iterator[str]:
    embedding = next((t for name, t in tensors.items() if _EMBEDDING.search(name)), None)
    if embedding is None or len(embedding.shape) != 2:
        if embedding is None and shape.family in PLAIN_FAMILIES:
            yield f"The embedding (embed_tokens) is missing from the weights: {_AGAIN}."
        return
    rows, columns = embedding.shape
    if shape.vocabulary and rows != shape.vocabulary:
        yield (
            f"The embedding has {rows} rows and {shape.source} tells a vocabulary of {shape.vocabulary}: "
            "take both from one source."
        )
    if shape.hidden and columns != shape.hidden:
        yield (
            f"The embedding has {columns} columns and {shape.source} tells {shape.hidden} (hidden_size): "
            "take both from one source."
        )
    if shape.family in PLAIN_FAMILIES and not any(_FINAL_NORM.search(name) for name in tensors):
        yield f"The final norm (model.norm.weight) is missing from the weights: {_AGAIN}."


def _heads(tensors: Mapping[str, Tensor], shape: Shape) -> Iterator[str]:
    if shape.family not in PLAIN_FAMILIES or shape.head_dim is None:
        return
    wanted = {
        "self_attn.q_proj.weight": (shape.heads, "heads", shape.head_dim),
        "self_attn.k_proj.weight": (shape.kv_heads, "key-value heads", shape.head_dim),
        "self_attn.v_proj.weight": (shape.kv_heads, "key-value heads", shape.head_dim),
        "mlp.up_proj.weight": (shape.inner, "inner width", 1),
    }
    told = set()
    for layer, tails in by_layer(tensors).items():
        for tail, (number, what, each) in wanted.items():
            tensor = tails.get(tail)
            if tensor is None or number is None or tail in told or len(tensor.shape) != 2:
                continue
            if tensor.shape[0] != number * each:
                told.add(tail)
                size = f"{what} {number}" if each == 1 else f"{number} {what} of {each}"
                yield (
                    f"{tail} of layer {layer} has {tensor.shape[0]} rows, and {shape.source} tells {size}, "
                    f"which is {number * each}: the head count or shape in {shape.source} is not that of "
                    "these weights. Take config.json from the model's own source."
                )
        norm = tails.get("self_attn.q_norm.weight")
        whole = shape.head_dim * (shape.heads or 1)  # some families have one norm over all heads
        if norm is not None and "norm" not in told and norm.size not in (shape.head_dim, whole):
            told.add("norm")
            yield (
                f"The norm of a head in layer {layer} has {norm.size} values, and {shape.source} tells heads "
                f"of {shape.head_dim}: take config.json from the model's own source."
            )


def _output(tensors: Mapping[str, Tensor], shape: Shape) -> Iterator[str]:
    if shape.tied or any(_OUTPUT.search(name) for name in tensors):
        return
    yield (
        f"{shape.source} says that the output has weights of its own (tie_word_embeddings is false), and no "
        "lm_head is among the weights: a loader then fills it with random numbers. Take config.json and "
        "weights from the model's own source."
    )


def _types(tensors: Mapping[str, Tensor], quantised_by: str) -> Iterator[str]:
    packed = {method for method, end in _PACKED.items() if any(name.endswith(end) for name in tensors)}
    if quantised_by in _PACKED and quantised_by not in packed:
        yield (
            f"config.json says that the weights are {quantised_by.upper()}, and they are not: take "
            "config.json and weights from one source."
        )
    if packed and not quantised_by:
        yield (
            f"The weights are packed ({' or '.join(sorted(packed)).upper()}) and config.json has no "
            "quantization_config, so that loaders take them for plain ones: take config.json from the same "
            "source."
        )
    if quantised_by or packed:
        return
    wrong = [
        t.name
        for t in tensors.values()
        if t.name.endswith("weight") and t.dtype in ("I64", "I32", "I16", "U16", "BOOL", "U8", "I8")
    ]
    if wrong:
        kind = tensors[wrong[0]].dtype
        yield f"{wrong[0]} holds whole numbers ({kind}) where weights must be fractions: {_AGAIN}."


def adapter_fits(adapter: Layout, shape: Shape) -> Observation | None:
    """W1 of an adapter (LoRA) that lies in the folder, against the model's shape; None where it fits."""
    for tensor in adapter.tensors.values():
        found = LAYER.fullmatch(tensor.name)
        if not found or not tensor.name.endswith("lora_A.weight") or shape.hidden is None:
            continue
        reads_hidden = any(part in tensor.name for part in ("q_proj", "k_proj", "v_proj", "up_proj", "gate"))
        if (shape.layers and int(found["layer"]) >= shape.layers) or (
            reads_hidden and tensor.shape[-1] != shape.hidden
        ):
            sentence = (
                f"The adapter in this folder was made for another base model ({tensor.name} takes "
                f"{tensor.shape[-1]} values, the model has {shape.hidden} and {shape.layers} layers): remove "
                "adapter_config.json and adapter_model.safetensors, or take the base that "
                "adapter_config.json names."
            )
            return observed("W1", Gate.FAIL, sentence)
    return None


def measurement_fits(measurement: Mapping[str, object], shape: Shape) -> Observation | None:
    """W1 of an EXL2 or EXL3 measurement that lies in the folder; None where it is of this model or absent."""
    told = measurement.get("measurement")
    places = (
        [found for name in told if (found := LAYER.fullmatch(f"{name}."))] if isinstance(told, dict) else []
    )
    layers = {int(found["layer"]) for found in places}
    if not layers or shape.layers is None or layers == set(range(shape.layers)):
        return None
    sentence = (
        f"measurement.json measures {len(layers)} layers and {shape.source} tells "
        f"{shape.layers}: it is another "
        "model's, and a conversion with it would choose wrong bits. Measure this model anew."
    )
    return observed("W1", Gate.REVIEW, sentence)
