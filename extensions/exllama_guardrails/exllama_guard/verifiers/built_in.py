"""The verifier that comes with the extension: a 22 M cross-encoder, int8 weights, run by torch.

The network is MiniLM-L6 (BERT, post-norm) with one linear layer over the first token and the mean of the
claim's tokens. How it was trained and what it reaches: `weights/README.md` and `docs/decisions/verifier.md`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exllama_guard.core.measures import FloatArray
from exllama_guard.errors import VerifierError

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = Path(__file__).parent / "weights" / "verifier.safetensors"
TOKENIZER = Path(__file__).parent / "weights" / "tokenizer.json"
_LAYERS = 6
_HEADS = 12
_TOKENS = 384  # the longest pair it was trained on
_BATCH_TOKENS = 2048  # padded tokens run at once: about 100 ms on two cores


class BuiltInVerifier:
    """P(contradiction), P(neutral), P(entailment) from the shipped model. Thread-safe; loads on first use."""

    def __init__(self, weights: Path = WEIGHTS, tokenizer: Path = TOKENIZER) -> None:
        """Remembers where the weights lie."""
        self._paths = (weights, tokenizer)
        self._lock = threading.Lock()
        self._loaded: _Network | None = None

    @property
    def id(self) -> str:
        """Name and version of the shipped weights."""
        return "built-in verifier 1"

    def entailment(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """Shape (n, 3): P(contradiction), P(neutral), P(entailment) of each (evidence, claim); rows sum to 1.

        A pair of more than 384 word pieces is cut at the end of the longer text.

        Raises:
            VerifierError: The weights are missing or damaged, or torch failed.
        """
        with self._lock:
            if self._loaded is None:
                self._loaded = _open(*self._paths)
            network = self._loaded
        try:
            return network.probabilities(pairs)
        except RuntimeError as error:
            raise VerifierError(
                f"The built-in verifier failed ({error}); support is scored without it."
            ) from error


@dataclass(frozen=True, slots=True)
class _Network:
    """Weights by name as float32 tensors, and the tokenizer."""

    w: dict[str, Tensor]
    tokenizer: Any

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """Shape (n, 3), rows in the order of the pairs, run in batches of like length."""
        encoded = self.tokenizer.encode_batch(list(pairs))
        order = sorted(range(len(pairs)), key=lambda index: len(encoded[index].ids))
        out = np.zeros((len(pairs), 3), dtype=np.float32)
        at = 0
        while at < len(order):
            end = at + 1
            while end < len(order) and len(encoded[order[end]].ids) * (end + 1 - at) <= _BATCH_TOKENS:
                end += 1
            out[order[at:end]] = self._run([encoded[index] for index in order[at:end]])
            at = end
        return out

    def _run(self, batch: Sequence[Any]) -> FloatArray:
        import torch

        width = max(len(one.ids) for one in batch)
        ids, kinds, real = (torch.zeros((len(batch), width), dtype=torch.long) for _ in range(3))
        for row, one in enumerate(batch):
            n = len(one.ids)
            ids[row, :n] = torch.tensor(one.ids)
            kinds[row, :n] = torch.tensor(one.type_ids)
            real[row, :n] = 1
        with torch.inference_mode():
            logits = self._logits(ids, kinds, real)
            return np.asarray(torch.softmax(logits, dim=-1).numpy(), dtype=np.float32)

    def _logits(self, ids: Tensor, kinds: Tensor, real: Tensor) -> Tensor:
        import torch

        w = self.w
        x = w["words.weight"][ids] + w["kinds.weight"][kinds] + w["positions.weight"][: ids.shape[1]]
        x = self._norm(x, "norm")
        mask = real[:, None, None, :].bool()
        for layer in range(_LAYERS):
            x = self._layer(x, mask, f"layers.{layer}.")
        claim = (kinds * real).unsqueeze(-1).to(x.dtype)
        mean = (x * claim).sum(1) / claim.sum(1).clamp(min=1.0)
        return self._linear(torch.cat([x[:, 0], mean], dim=-1), "decide")

    def _layer(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        from torch.nn import functional

        n, tokens, width = x.shape
        q, k, v = (
            part.view(n, tokens, _HEADS, -1).transpose(1, 2)
            for part in self._linear(x, name + "qkv").chunk(3, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        mixed = mixed.transpose(1, 2).reshape(n, tokens, width)
        x = self._norm(x + self._linear(mixed, name + "out"), name + "norm1")
        inner = functional.gelu(self._linear(x, name + "up"))
        return self._norm(x + self._linear(inner, name + "down"), name + "norm2")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        from torch.nn import functional

        return functional.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        from torch.nn import functional

        return functional.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], 1e-12)


def _open(weights: Path, tokenizer: Path) -> _Network:
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    damaged = VerifierError(
        f"The built-in verifier's files in {weights.parent} are missing or damaged; install the "
        "extension again, or name a verifier in settings."
    )
    try:
        stored = load_file(weights)
        words = tokenizer.read_text(encoding="utf-8")
        json.loads(words)
    except (OSError, SafetensorError, ValueError) as error:
        raise damaged from error
    with ThreadPoolExecutor(1) as apart:  # it raises a bare Exception for what is no tokenizer
        made = apart.submit(Tokenizer.from_str, words)
    if made.exception() is not None:
        raise damaged
    reader = made.result()
    reader.no_padding()
    reader.enable_truncation(_TOKENS, strategy="longest_first")
    scales = {name.removesuffix(".scale"): value for name, value in stored.items() if name.endswith(".scale")}
    plain = {
        name: value.float() * scales[name].float().unsqueeze(-1) if name in scales else value.float()
        for name, value in stored.items()
        if not name.endswith(".scale")
    }
    network = _Network(plain, reader)
    try:
        tried = network.probabilities([("It is warm.", "It is cold.")])
    except (
        KeyError,
        RuntimeError,
        IndexError,
        TypeError,
    ) as error:  # a tensor is missing or has another shape
        raise damaged from error
    if not np.isfinite(tried).all() or not all(bool(value.isfinite().all()) for value in plain.values()):
        raise damaged
    return network
