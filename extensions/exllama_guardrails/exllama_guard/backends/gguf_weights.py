"""A GGUF file as tensors under Hugging Face's names, with values as they were before the conversion."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from exllama_guard.backends.gguf_header import GgufTensor, read_header
from exllama_guard.backends.layout import Layout, Tensor
from exllama_guard.core.measures import FloatArray

__all__ = ["read_gguf"]

_AGAIN = "download the file again from the model's source"

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output": "lm_head",
    "output_norm": "model.norm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
}
_GEMMA = {
    **_NAMES,
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_BLOCK = re.compile(r"blk\.(\d+)\.(.+)\.(weight|bias)")


def read_gguf(path: Path, unreadable: str) -> Layout:
    """The file's tensors and plain metadata; `unreadable` where a look at its start told already."""
    if unreadable:
        return Layout(unreadable=(unreadable,))
    try:
        header = read_header(path)
    except (ValueError, struct.error, KeyError, OSError, MemoryError, OverflowError) as error:
        sentence = f"{path.name} is cut short or damaged ({_first_line(error)}): {_AGAIN}."
        return Layout(unreadable=(sentence,))
    arch = str(header.metadata.get("general.architecture", ""))
    tensors = {}
    for made in header.tensors:
        name = _name(made.name, arch)
        tensors[name] = Tensor(
            name, made.shape, made.kind, path.name, _reader(path, made, name, arch, header.metadata)
        )
    size = path.stat().st_size
    wanted = max((made.start + made.n_bytes for made in header.tensors), default=0)
    if wanted > size:
        sentence = (
            f"{path.name} is cut short: it ends at {size / 1e6:.1f} of {wanted / 1e6:.1f} MB. The download "
            f"was broken off: {_AGAIN}."
        )
        return Layout(unreadable=(sentence,), metadata=header.metadata)
    return Layout(tensors, metadata=header.metadata)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:100]


def _name(name: str, arch: str) -> str:
    names = _GEMMA if arch.startswith("gemma") else _NAMES
    block = _BLOCK.fullmatch(name)
    if block is None:
        stem, _, kind = name.rpartition(".")
        return f"{names.get(stem, stem)}.{kind}"
    return f"model.layers.{block[1]}.{names.get(block[2], block[2])}.{block[3]}"


def _reader(
    path: Path, made: GgufTensor, name: str, arch: str, metadata: Mapping[str, Any]
) -> Callable[[int], FloatArray]:
    def read(most: int) -> FloatArray:
        try:
            from gguf import GGMLQuantizationType
            from gguf.quants import dequantize
        except ImportError:
            return np.zeros(0, dtype=np.float32)
        raw = np.memmap(path, dtype=np.uint8, mode="r", offset=made.start, shape=(made.n_bytes,))
        rows = raw.reshape(made.shape[0], -1) if len(made.shape) > 1 else raw
        interleaved = arch == "llama" and ("q_proj" in name or "k_proj" in name)
        step = 1 if interleaved else -(-math.prod(made.shape) // max(most, 1))
        if step > 1 and len(made.shape) > 1:
            rows = rows[::step]
        kind = GGMLQuantizationType[made.kind]
        plain = {"F32": np.float32, "F16": np.float16}.get(made.kind)
        with np.errstate(all="ignore"):
            values = np.ascontiguousarray(rows)
            values = values.view(plain) if plain else dequantize(values, kind)
            return _before(np.asarray(values, dtype=np.float32), name, arch, metadata)

    return read


def _before(values: FloatArray, name: str, arch: str, metadata: Mapping[str, Any]) -> FloatArray:
    """Undoes what the converter did: Llama's q and k rows interleaved, 1 added to Gemma's norms."""
    if arch.startswith("gemma") and "norm" in name:
        return values - 1.0
    kind = "head_count" if "q_proj" in name else "head_count_kv" if "k_proj" in name else ""
    heads = metadata.get(f"{arch}.attention.{kind}") if arch == "llama" and kind else None
    if not isinstance(heads, int) or values.ndim != 2 or values.shape[0] % (2 * heads):
        return values
    rows, columns = values.shape
    return values.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
