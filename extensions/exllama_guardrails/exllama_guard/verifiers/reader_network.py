"""The network of the reader: SmolLM2 (Llama form) with its LoRA merged in, float32, one causal pass.

The activations of this model reach 2,000 at its first token and 30 elsewhere: one int8 scale for all of them
loses what the judgement rests on (correlation .15 with float32 on 38 statements), so it stays in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from exllama_guard.core.measures import FloatArray

if TYPE_CHECKING:
    from gguf import ReaderTensor
    from torch import Tensor

_LAYERS, _WIDTH, _HEADS, _KEY_HEADS, _HEAD = 30, 576, 9, 3, 64
_ROTATION = 100000.0  # RoPE base of SmolLM2
_EPSILON = 1e-5
_LORA_SCALE = 1.0  # alpha / rank, as trained
_PROJECTIONS = {
    "qkv": ("attn_q", "attn_k", "attn_v"),
    "o": ("attn_output",),
    "up": ("ffn_gate", "ffn_up"),
    "down": ("ffn_down",),
}


@dataclass(frozen=True, slots=True)
class Network:
    """Projections by name, the norms and embeddings, and the heads."""

    projections: dict[str, Tensor]
    plain: dict[str, Tensor]
    heads: dict[str, Tensor]

    def judge(
        self, ids: Sequence[int], about: int, places: Sequence[int]
    ) -> tuple[FloatArray, FloatArray, float]:
        """Logits (n, 4) of the asked places, the loudest word before each (n,), the logit of the question."""
        import torch

        with torch.inference_mode():
            hidden = self._hidden(torch.tensor([list(ids)]))[0]
            judged = self._head(hidden[list(places)], "judge")
            loud = self._head(hidden, "word").squeeze(-1)
            starts = [about + 1, *(place + 1 for place in places)]
            words = [
                float(loud[start:place].max()) if place > start else -9.0
                for start, place in zip(starts, places, strict=False)
            ]
            asked = float(self._head(hidden[about], "about"))
        return (
            np.asarray(judged.numpy(), dtype=np.float32).reshape(-1, 4),
            np.array(words, dtype=np.float32),
            asked,
        )

    def _head(self, hidden: Tensor, name: str) -> Tensor:
        from torch.nn import functional

        return functional.linear(hidden, self.heads[f"{name}.weight"], self.heads[f"{name}.bias"])

    def _hidden(self, ids: Tensor) -> Tensor:
        import torch

        x = self.plain["embeddings"][ids]
        marker = self.heads["marker"]
        x = x + (ids == 2).unsqueeze(-1) * marker[0] + (ids == 1).unsqueeze(-1) * marker[1]
        steps = torch.arange(0, _HEAD, 2, dtype=torch.float32) / _HEAD
        angles = torch.outer(torch.arange(ids.shape[1], dtype=torch.float32), _ROTATION**-steps)
        turn = (angles.cos(), angles.sin())
        for layer in range(_LAYERS):
            x = self._layer(x, turn, layer)
        return self._norm(x, "norm")

    def _layer(self, x: Tensor, turn: tuple[Tensor, Tensor], layer: int) -> Tensor:
        from torch.nn import functional

        tokens = x.shape[1]
        q, k, v = self._project(self._norm(x, f"{layer}.n1"), f"{layer}.qkv").split(
            [_HEADS * _HEAD, _KEY_HEADS * _HEAD, _KEY_HEADS * _HEAD], -1
        )
        q = _turned(q.view(1, tokens, _HEADS, _HEAD).transpose(1, 2), turn)
        k = _turned(k.view(1, tokens, _KEY_HEADS, _HEAD).transpose(1, 2), turn)
        v = v.view(1, tokens, _KEY_HEADS, _HEAD).transpose(1, 2)
        share = _HEADS // _KEY_HEADS
        mixed = functional.scaled_dot_product_attention(
            q, k.repeat_interleave(share, 1), v.repeat_interleave(share, 1), is_causal=True
        )
        x = x + self._project(mixed.transpose(1, 2).reshape(1, tokens, _WIDTH), f"{layer}.o")
        gate, up = self._project(self._norm(x, f"{layer}.n2"), f"{layer}.up").chunk(2, -1)
        return x + self._project(functional.silu(gate) * up, f"{layer}.down")

    def _norm(self, x: Tensor, name: str) -> Tensor:
        from torch.nn import functional

        return functional.rms_norm(x, (_WIDTH,), self.plain[name], _EPSILON)

    def _project(self, x: Tensor, name: str) -> Tensor:
        from torch.nn import functional

        return functional.linear(x, self.projections[name])


def _turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding of neighbouring pairs, as GGUF files of the Llama form order them."""
    import torch

    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = turn
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


def open_network(trained: Path, base: Path, *, int8: bool = False) -> Network:
    """The network from the base model's GGUF file and the trained weights.

    Raises:
        OSError, ValueError, KeyError: A file is missing or damaged, or a weight is not finite.
    """
    import torch
    from gguf import GGUFReader
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = {name: value.float() for name, value in load_file(trained).items()}
    except SafetensorError as error:
        raise ValueError(f"{trained.name} is damaged") from error
    if not all(bool(torch.isfinite(value).all()) for value in stored.values()):
        raise ValueError(f"{trained.name} holds a value that is not finite")
    tensors = {tensor.name: tensor for tensor in GGUFReader(base).tensors}
    projections: dict[str, Tensor] = {}
    plain = {"embeddings": _read(tensors["token_embd.weight"]), "norm": _read(tensors["output_norm.weight"])}
    for layer in range(_LAYERS):
        plain[f"{layer}.n1"] = _read(tensors[f"blk.{layer}.attn_norm.weight"])
        plain[f"{layer}.n2"] = _read(tensors[f"blk.{layer}.ffn_norm.weight"])
        for name, sources in _PROJECTIONS.items():
            weight = torch.cat([_read(tensors[f"blk.{layer}.{source}.weight"]) for source in sources])
            down, up = stored[f"blocks.{layer}.{name}.a"], stored[f"blocks.{layer}.{name}.b"]
            weight += _LORA_SCALE * (up @ down)
            projections[f"{layer}.{name}"] = weight
    heads = {name: value for name, value in stored.items() if not name.startswith("blocks.")}
    return Network(projections, plain, heads)


def _read(tensor: ReaderTensor) -> Tensor:
    """A tensor of a GGUF file in float32, in torch's order of dimensions."""
    import torch
    from gguf.quants import dequantize

    values = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    return torch.from_numpy(values).reshape(tuple(int(n) for n in reversed(tensor.shape)))
