"""The verifier's network in plain torch: a BERT encoder (MiniLM weights fit) and two small heads."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional


class Layer(nn.Module):
    """One post-norm transformer layer."""

    def __init__(self, width: int, inner: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, eps=1e-12)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Hidden states (n, tokens, width); mask (n, 1, 1, tokens) is True at real tokens."""
        n, tokens, width = x.shape
        drop = self.dropout if self.training else 0.0
        q, k, v = (p.view(n, tokens, self.heads, -1).transpose(1, 2) for p in self.qkv(x).chunk(3, dim=-1))
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=drop)
        mixed = self.out(mixed.transpose(1, 2).reshape(n, tokens, width))
        x = self.norm1(x + functional.dropout(mixed, drop, self.training))
        return self.norm2(x + functional.dropout(self.down(functional.gelu(self.up(x))), drop, self.training))


class Verifier(nn.Module):
    """Cross-encoder with a three-way head and a head that marks unsupported claim tokens."""

    def __init__(
        self,
        vocabulary: int = 30522,
        width: int = 384,
        inner: int = 1536,
        layers: int = 6,
        heads: int = 12,
        positions: int = 512,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        self.kinds = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(width, inner, heads, dropout) for _ in range(layers))
        self.decide = nn.Linear(2 * width, 3)
        self.mark = nn.Linear(width, 1)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, 3) for contradicted, neutral, entailed; logits (n, tokens) of being unsupported."""
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.norm(self.words(input_ids) + self.kinds(token_type_ids) + self.positions(places))
        x = functional.dropout(x, self.dropout, self.training)
        mask = attention_mask[:, None, None, :].bool()
        for layer in self.layers:
            x = layer(x, mask)
        claim = (token_type_ids * attention_mask).unsqueeze(-1).to(x.dtype)
        mean = (x * claim).sum(1) / claim.sum(1).clamp(min=1.0)
        pooled = functional.dropout(torch.cat([x[:, 0], mean], dim=-1), self.dropout, self.training)
        return self.decide(pooled), self.mark(x).squeeze(-1)


def load_base(folder: Path, dropout: float) -> Verifier:
    """A verifier whose encoder holds the weights of the BERT model in `folder`; the heads are new."""
    from safetensors.torch import load_file

    settings = json.loads((folder / "config.json").read_text())
    model = Verifier(
        settings["vocab_size"],
        settings["hidden_size"],
        settings["intermediate_size"],
        settings["num_hidden_layers"],
        settings["num_attention_heads"],
        settings["max_position_embeddings"],
        dropout,
    )
    w = {k.removeprefix("bert."): v.float() for k, v in load_file(folder / "model.safetensors").items()}
    state = model.state_dict()
    e = "embeddings."
    state |= {
        "words.weight": w[e + "word_embeddings.weight"],
        "positions.weight": w[e + "position_embeddings.weight"],
        "kinds.weight": w[e + "token_type_embeddings.weight"],
        "norm.weight": w[e + "LayerNorm.weight"],
        "norm.bias": w[e + "LayerNorm.bias"],
    }
    names = {
        "out": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm2": "output.LayerNorm",
    }
    for i in range(len(model.layers)):
        old = f"encoder.layer.{i}."
        for part in ("weight", "bias"):
            state[f"layers.{i}.qkv.{part}"] = torch.cat(
                [w[f"{old}attention.self.{x}.{part}"] for x in ("query", "key", "value")]
            )
            state |= {f"layers.{i}.{new}.{part}": w[f"{old}{name}.{part}"] for new, name in names.items()}
    model.load_state_dict(state)
    return model
