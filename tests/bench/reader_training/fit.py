"""Trains the reader: SmolLM2-135M with a LoRA and heads, on what `encode.py` wrote. Meant for one GPU.

    [torchrun --nproc-per-node N] python fit.py DATA.npz BASE.gguf OUT.safetensors --seconds 500 [--both-ways] [--rank 64] [--rate 3e-4] [--seed 1]

The learning rate falls to nothing with the time given. Prints the AUROC of the tried sets as it goes and at the end.
`--both-ways`: every token sees every other, and the answer stands behind the evidence only.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

LAYERS, WIDTH, HEADS, KEY_HEADS, HEAD = 30, 576, 9, 3, 64
ROTATION, EPSILON = 100000.0, 1e-5
PARTS = {
    "qkv": ("attn_q", "attn_k", "attn_v"),
    "o": ("attn_output",),
    "up": ("ffn_gate", "ffn_up"),
    "down": ("ffn_down",),
}
ASK_ABOUT, ASK_STATEMENT = 1, 2
SUPPORTED, NOTHING, UNSUPPORTED = 2, 3, -1


class Net(nn.Module):
    """The base in bfloat16, frozen; a LoRA merged anew each step; the heads."""

    def __init__(self, base: Path, rank: int, both_ways: bool, dropout: float) -> None:
        super().__init__()
        from gguf import GGUFReader
        from gguf.quants import dequantize

        tensors = {one.name: one for one in GGUFReader(base).tensors}

        def read(name: str) -> Tensor:
            one = tensors[name]
            values = np.array(dequantize(one.data, one.tensor_type), dtype=np.float32)
            return torch.from_numpy(values).reshape(tuple(int(n) for n in reversed(one.shape)))

        self.both_ways, self.dropout, self.block = both_ways, dropout, block
        self.register_buffer("embeddings", read("token_embd.weight"))
        self.register_buffer("norm", read("output_norm.weight"))
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        for layer in range(LAYERS):
            self.register_buffer(f"n1_{layer}", read(f"blk.{layer}.attn_norm.weight"))
            self.register_buffer(f"n2_{layer}", read(f"blk.{layer}.ffn_norm.weight"))
            for name, sources in PARTS.items():
                weight = torch.cat([read(f"blk.{layer}.{one}.weight") for one in sources])
                self.register_buffer(f"w_{layer}_{name}", weight)
                self.a[f"{layer}_{name}"] = nn.Parameter(
                    torch.randn(rank, weight.shape[1]) / math.sqrt(weight.shape[1])
                )
                self.b[f"{layer}_{name}"] = nn.Parameter(torch.zeros(weight.shape[0], rank))
        self.judge, self.word, self.about = nn.Linear(WIDTH, 4), nn.Linear(WIDTH, 1), nn.Linear(WIDTH, 1)
        for head in (self.judge, self.word, self.about):
            nn.init.normal_(head.weight, std=0.02)
            nn.init.zeros_(head.bias)
        self.marker = nn.Parameter(torch.randn(2, WIDTH) * 0.02)

    def merged(self) -> dict[str, Tensor]:
        """Every projection with its LoRA, in bfloat16."""
        out = {}
        for key, a in self.a.items():
            weight: Tensor = getattr(self, f"w_{key}")
            out[key] = (weight + self.b[key] @ a).to(torch.bfloat16 if weight.is_cuda else torch.float32)
        return out

    def forward(self, ids: Tensor, lengths: Tensor, weights: dict[str, Tensor]) -> Tensor:
        x = self.embeddings[ids]
        x = (
            x
            + (ids == ASK_STATEMENT).unsqueeze(-1) * self.marker[0]
            + (ids == ASK_ABOUT).unsqueeze(-1) * self.marker[1]
        )
        width = ids.shape[1]
        steps = torch.arange(0, HEAD, 2, dtype=torch.float32, device=ids.device) / HEAD
        angles = torch.outer(torch.arange(width, dtype=torch.float32, device=ids.device), ROTATION**-steps)
        mask = None
        if self.both_ways:
            mask = (torch.arange(width, device=ids.device)[None] < lengths[:, None])[:, None, None]
        x = x.to(next(iter(weights.values())).dtype)
        dropout = self.dropout if self.training else 0.0
        for layer in range(LAYERS):
            norms = getattr(self, f"n1_{layer}"), getattr(self, f"n2_{layer}")
            parts = [weights[f"{layer}_{name}"] for name in PARTS]
            x = self.block(x, angles.cos(), angles.sin(), mask, *norms, *parts, dropout)
        return functional.rms_norm(x.float(), (WIDTH,), self.norm, EPSILON)


def block(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    mask: Tensor | None,
    before: Tensor,
    between: Tensor,
    qkv: Tensor,
    o: Tensor,
    up: Tensor,
    down: Tensor,
    dropout: float,
) -> Tensor:
    """One layer of the Llama form."""
    batch, width, _ = x.shape
    mixed = functional.linear(normed(x, before), qkv)
    queries, keys = HEADS * HEAD, KEY_HEADS * HEAD
    q, k, v = mixed.split((queries, keys, keys), -1)
    q = turned(q.view(batch, width, HEADS, HEAD).transpose(1, 2), cos, sin)
    k = turned(k.view(batch, width, KEY_HEADS, HEAD).transpose(1, 2), cos, sin)
    v = v.view(batch, width, KEY_HEADS, HEAD).transpose(1, 2)
    share = HEADS // KEY_HEADS
    mixed = functional.scaled_dot_product_attention(
        q,
        k.repeat_interleave(share, 1),
        v.repeat_interleave(share, 1),
        attn_mask=mask,
        is_causal=mask is None,
    )
    mixed = functional.linear(mixed.transpose(1, 2).reshape(batch, width, WIDTH), o)
    x = x + functional.dropout(mixed, dropout, dropout > 0)
    gate, value = functional.linear(normed(x, between), up).chunk(2, -1)
    return x + functional.dropout(
        functional.linear(functional.silu(gate) * value, down), dropout, dropout > 0
    )


def normed(x: Tensor, weight: Tensor) -> Tensor:
    return functional.rms_norm(x.float(), (WIDTH,), weight, EPSILON).to(x.dtype)


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of neighbouring pairs, as GGUF files of the Llama form order them."""
    even, odd = x[..., 0::2].float(), x[..., 1::2].float()
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).to(x.dtype)


@dataclass(slots=True)
class Example:
    """One reading: token ids, where what is asked, and the answers."""

    source: str
    ids: np.ndarray
    about_at: int
    about: int
    places: np.ndarray
    starts: np.ndarray
    labels: np.ndarray
    marked: np.ndarray
    pairs: np.ndarray
    loud: np.ndarray


def load(path: Path, both_ways: bool) -> tuple[list[list[Example]], dict[str, list[list[Example]]]]:
    """Groups to train on, and groups to try by source."""
    raw = dict(np.load(path))
    names = [str(one) for one in raw["sources"]]
    at = {
        name: np.concatenate([[0], np.cumsum(raw["n_" + name])])
        for name in ("ids", "places", "starts", "labels", "marked", "pairs", "loud")
    }
    groups: dict[int, list[Example]] = defaultdict(list)
    tried: dict[int, bool] = {}
    for row, (source, number, is_tried, text_at, about_at, about) in enumerate(raw["heads"].tolist()):
        part = {name: raw[name][at[name][row] : at[name][row + 1]].astype(np.int64) for name in at}
        cut = text_at if both_ways else 0
        groups[number].append(
            Example(
                names[source],
                part["ids"][cut:].astype(np.int32),
                about_at - cut,
                about,
                part["places"] - cut,
                part["starts"] - cut,
                part["labels"],
                part["marked"],
                part["pairs"],
                part["loud"] - cut,
            )
        )
        tried[number] = bool(is_tried)
    train = [group for number, group in groups.items() if not tried[number]]
    test: dict[str, list[list[Example]]] = defaultdict(list)
    for number, group in groups.items():
        if tried[number]:
            test[group[0].source].append(group)
    return train, test


def collated(some: list[Example], device: str) -> dict[str, Tensor]:
    """A padded batch with flat places: row and column of each statement, its label, its pair."""
    width = (max(len(one.ids) for one in some) + 63) // 64 * 64
    ids = np.zeros((len(some), width), dtype=np.int64)
    where, labels, about, words, loud = [], [], [], [], []
    for row, one in enumerate(some):
        ids[row, : len(one.ids)] = one.ids
        where += [(row, int(place)) for place in one.places]
        labels += one.labels.tolist()
        if one.about >= 0:
            about.append((row, one.about_at, one.about))
        marks = set(one.loud.tolist())
        for start, place, known in zip(one.starts, one.places, one.marked, strict=True):
            if known:
                words += [(row, token) for token in range(start, place)]
                loud += [float(token in marks) for token in range(start, place)]
    tensors = {
        "ids": torch.from_numpy(ids),
        "lengths": torch.tensor([len(one.ids) for one in some]),
        "where": torch.tensor(where).reshape(-1, 2),
        "labels": torch.tensor(labels),
        "about": torch.tensor(about).reshape(-1, 3),
        "words": torch.tensor(words).reshape(-1, 2),
        "loud": torch.tensor(loud),
    }
    return {name: one.to(device, non_blocking=True) for name, one in tensors.items()}


def paired(groups: list[list[Example]]) -> list[tuple[int, int]]:
    """Flat indices (right statement, wrong statement) of a batch of whole groups."""
    out, at = [], 0
    for group in groups:
        first = at
        right = {index: first + index for index, label in enumerate(group[0].labels) if label == SUPPORTED}
        for one in group:
            for index, (label, pair) in enumerate(zip(one.labels.tolist(), one.pairs.tolist(), strict=True)):
                if label in (0, 1) and pair in right and one is not group[0]:
                    out.append((right[pair], at + index))
            at += len(one.labels)
    return out


def odds(judged: Tensor) -> Tensor:
    """Log-odds of supported against contradicted and absent."""
    return judged[:, 2] - torch.logsumexp(judged[:, :2], -1)


def batches(groups: list[list[Example]], tokens: int, rng: random.Random) -> list[list[list[Example]]]:
    """Whole groups of like length, at most so many padded tokens a batch."""
    order = sorted(groups, key=lambda g: max(len(one.ids) for one in g) * rng.uniform(0.92, 1.08))
    out: list[list[list[Example]]] = []
    batch: list[list[Example]] = []
    longest = count = 0
    for group in order:
        size = max(len(one.ids) for one in group)
        if batch and max(longest, size) * (count + len(group)) > tokens:
            out.append(batch)
            batch, longest, count = [], 0, 0
        batch.append(group)
        longest, count = max(longest, size), count + len(group)
    if batch:
        out.append(batch)
    rng.shuffle(out)
    return out


def loss_of(
    net: Net, weights: dict[str, Tensor], batch: list[list[Example]], device: str, said: Any
) -> Tensor:
    data = collated([one for group in batch for one in group], device)
    hidden = net(data["ids"], data["lengths"], weights)
    judged = net.judge(functional.dropout(hidden[data["where"][:, 0], data["where"][:, 1]], 0.1, True))
    labels = data["labels"]
    likely = functional.log_softmax(judged, -1)
    smooth = 0.02
    exact = (
        -likely.gather(1, labels.clamp(min=0)[:, None]).squeeze(1) * (1 - smooth) - likely.mean(-1) * smooth
    )
    either = -torch.logsumexp(likely[:, :2], -1)
    each = torch.where(labels == UNSUPPORTED, either, exact)
    weigh = torch.where(labels == SUPPORTED, said.right, 1.0) * torch.where(labels == NOTHING, 0.4, 1.0)
    loss = (each * weigh).sum() / weigh.sum()
    pairs = paired(batch)
    if pairs:
        right, wrong = torch.tensor(pairs, device=device).T
        z = odds(judged)
        loss = loss + said.pair * functional.softplus(1.0 - (z[right] - z[wrong])).mean()
    if len(data["about"]):
        rows, places, truth = data["about"].T
        loss = loss + 0.2 * functional.binary_cross_entropy_with_logits(
            net.about(hidden[rows, places]).squeeze(-1), truth.float()
        )
    if len(data["words"]):
        spoken = net.word(hidden[data["words"][:, 0], data["words"][:, 1]]).squeeze(-1)
        loud = data["loud"]
        each = functional.binary_cross_entropy_with_logits(spoken, loud, reduction="none") * (1 + 2 * loud)
        loss = loss + 0.5 * each.mean()
    return loss


def auroc(truth: list[int], scores: list[float]) -> float:
    order = np.argsort(np.array(scores), kind="mergesort")
    y, s = np.array(truth)[order], np.array(scores)[order]
    ranks = np.empty(len(s))
    _, first, count = np.unique(s, return_index=True, return_counts=True)
    for start, n in zip(first, count, strict=True):
        ranks[start : start + n] = start + (n + 1) / 2
    right = y.sum()
    return float((ranks[y == 1].sum() - right * (right + 1) / 2) / max(1, right * (len(y) - right)))


@torch.no_grad()
def tried(net: Net, test: dict[str, list[list[Example]]], device: str, tokens: int) -> dict[str, float]:
    """AUROC of the log-odds by set: of statements, and of answers (their least statement) where written by hand."""
    net.eval()
    weights = net.merged()
    out = {}
    for source, groups in test.items():
        statements: list[tuple[int, float, float]] = []
        answers: list[tuple[int, float]] = []
        for batch in batches(groups, tokens, random.Random(1)):
            some = [one for group in batch for one in group]
            data = collated(some, device)
            hidden = net(data["ids"], data["lengths"], weights)
            z = odds(net.judge(hidden[data["where"][:, 0], data["where"][:, 1]])).tolist()
            words = net.word(hidden).squeeze(-1)
            at = 0
            for row, one in enumerate(some):
                values = []
                for start, place, label in zip(one.starts, one.places, one.labels.tolist(), strict=True):
                    loud = float(words[row, start:place].max()) if place > start else -9.0
                    if label != NOTHING:
                        values.append(z[at])
                        if not source.endswith("-far"):
                            statements.append((int(label == SUPPORTED), z[at], -loud))
                    at += 1
                if values and not one.source.endswith("-far"):
                    wrong = any(label in (0, 1, UNSUPPORTED) for label in one.labels.tolist())
                    answers.append((int(not wrong), min(values)))
        truth, said, loud = (list(x) for x in zip(*statements, strict=True))
        out[source] = auroc(truth, said)
        if len(source) == 1:
            out[source + ".words"] = auroc(truth, loud)
            out[source + ".both"] = auroc(truth, [a + 0.5 * b for a, b in zip(said, loud, strict=True)])
            right, least = zip(*answers, strict=True)
            out[source + ".answers"] = auroc(list(right), list(least))
    net.train()
    return out


@torch.no_grad()
def write_said(net: Net, test: dict[str, list[list[Example]]], device: str, path: Path) -> None:
    """What the reader says of every statement of the hand-written parts that were tried, in their order."""
    net.eval()
    weights = net.merged()
    judged, loud, about, count = [], [], [], []
    for source, groups in test.items():
        if len(source) > 1:
            continue
        for group in groups:
            data = collated(group, device)
            hidden = net(data["ids"], data["lengths"], weights)
            judged += net.judge(hidden[data["where"][:, 0], data["where"][:, 1]]).tolist()
            words = net.word(hidden).squeeze(-1)
            for row, one in enumerate(group):
                loud += [
                    float(words[row, a:b].max()) if b > a else -9.0
                    for a, b in zip(one.starts, one.places, strict=True)
                ]
                about.append(float(net.about(hidden[row, one.about_at])))
                count.append(len(one.places))
    np.savez(
        path,
        judged=np.array(judged, np.float32),
        loud=np.array(loud, np.float32),
        about=np.array(about, np.float32),
        count=np.array(count),
    )


def pools(train: list[list[Example]]) -> dict[str, list[list[Example]]]:
    out: dict[str, list[list[Example]]] = defaultdict(list)
    for group in train:
        source = group[0].source
        out["written" if len(source) <= 2 else "pairs" if source.startswith("pair_") else "public"].append(
            group
        )
    return out


def stream(train: list[list[Example]], said: Any, started: float) -> Any:
    """Batches without end; the written ones come more often as the time goes."""
    rng = random.Random(said.seed)
    by = pools(train)
    ready: dict[str, list[Any]] = {name: [] for name in by}
    while True:
        done = (time.time() - started) / said.seconds
        early = {"written": 0.3, "public": 0.45, "pairs": 0.25}
        late = {"written": 0.75, "public": 0.2, "pairs": 0.05}
        share = early if done < said.early else late
        names = [name for name in by if by[name]]
        name = rng.choices(names, [share[one] for one in names])[0]
        if not ready[name]:
            some = by[name]
            if name == "written" and said.lots_apart:
                some = rng.sample(some, max(1, len(some) // 2))
            ready[name] = batches(some, said.tokens, rng)
        yield ready[name].pop()


def agreed(done: float, world: int, device: str) -> float:
    """The first process's clock."""
    if world == 1:
        return done
    told = torch.tensor([done], device=device)
    torch.distributed.broadcast(told, 0)
    return float(told)


def shared(net: Net) -> None:
    """Gradients averaged over the processes."""
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in net.parameters()]
    flat = torch.cat([one.reshape(-1) for one in grads])
    torch.distributed.all_reduce(flat, torch.distributed.ReduceOp.AVG)
    at = 0
    for p in net.parameters():
        p.grad = flat[at : at + p.numel()].view_as(p)
        at += p.numel()


def save(net: Net, path: Path) -> None:
    from safetensors.torch import save_file

    stored = {}
    for key in net.a:
        layer, name = key.split("_", 1)
        stored[f"blocks.{layer}.{name}.a"] = net.a[key].detach().half().cpu().contiguous()
        stored[f"blocks.{layer}.{name}.b"] = net.b[key].detach().half().cpu().contiguous()
    for name in ("judge", "word", "about"):
        head = getattr(net, name)
        stored[f"{name}.weight"], stored[f"{name}.bias"] = (
            head.weight.detach().half().cpu(),
            head.bias.detach().half().cpu(),
        )
    stored["marker"] = net.marker.detach().half().cpu()
    save_file(stored, path)


def arguments() -> Any:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("data", type=Path)
    ask.add_argument("base", type=Path)
    ask.add_argument("out", type=Path)
    ask.add_argument("--seconds", type=float, default=500)
    ask.add_argument("--both-ways", action="store_true")
    ask.add_argument("--lots-apart", action="store_true")
    ask.add_argument("--rank", type=int, default=64)
    ask.add_argument("--rate", type=float, default=3e-4)
    ask.add_argument("--tokens", type=int, default=32768)
    ask.add_argument("--pair", type=float, default=0.5)
    ask.add_argument("--right", type=float, default=0.6, help="weight of supported statements: they are many")
    ask.add_argument("--early", type=float, default=0.4, help="share of the time with mostly public rows")
    ask.add_argument("--dropout", type=float, default=0.05)
    ask.add_argument("--every", type=float, default=120, help="seconds between tries")
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument(
        "--said", type=Path, help="what it says of the tried hand-written answers, as an .npz file"
    )
    ask.add_argument("--plain", action="store_true", help="without torch.compile")
    return ask.parse_args()


def main() -> None:
    said = arguments()
    began = time.time()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        torch.cuda.set_device(rank)
        torch.distributed.init_process_group("nccl")
    torch.manual_seed(said.seed)  # the same start everywhere
    torch.set_float32_matmul_precision("high")
    net = Net(said.base, said.rank, said.both_ways, said.dropout).to(device).train()
    train, test = load(said.data, said.both_ways)
    print(
        f"{len(train)} groups, tried {[(k, len(v)) for k, v in test.items()]}, ready in {time.time() - began:.0f} s",
        flush=True,
    )
    if device == "cuda" and not said.plain:
        net.block = torch.compile(block, dynamic=True)
    lora = [*net.a.values(), *net.b.values(), net.marker]
    heads = [p for head in (net.judge, net.word, net.about) for p in head.parameters()]
    optimizer = torch.optim.AdamW(
        [{"params": lora, "lr": said.rate}, {"params": heads, "lr": said.rate * 2}],
        betas=(0.9, 0.98),
        weight_decay=0.01,
    )
    started = last = time.time()
    step = tokens = 0
    losses: list[float] = []
    torch.manual_seed(said.seed + 100 * rank)
    said.seed += 100 * rank
    for batch in stream(train, said, started):
        done = agreed((time.time() - started) / said.seconds, world, device)
        if done >= 1:
            break
        factor = min(1.0, (step + 1) / 60) * (1 - done)
        for group, rate in zip(optimizer.param_groups, (said.rate, said.rate * 2), strict=True):
            group["lr"] = rate * factor
        loss = loss_of(net, net.merged(), batch, device, said)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if world > 1:
            shared(net)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        step += 1
        tokens += sum(len(one.ids) for group in batch for one in group)
        losses.append(float(loss.detach()))
        if rank:
            continue
        if step % 100 == 0:
            print(
                f"{time.time() - started:.0f} s step {step} {tokens / 1e6:.1f}M tokens loss {np.mean(losses[-100:]):.4f}",
                flush=True,
            )
        if time.time() - last > said.every:
            shown = {
                k: round(v, 3)
                for k, v in tried(
                    net, {k: v for k, v in test.items() if len(k) == 1}, device, said.tokens
                ).items()
            }
            print(f"{time.time() - started:.0f} s {json.dumps(shown)}", flush=True)
            last = time.time()
    if rank:
        return
    save(net, said.out)
    if said.said:
        write_said(net, test, device, said.said)
    print(json.dumps({k: round(v, 4) for k, v in tried(net, test, device, said.tokens).items()}), flush=True)
    print(f"{step} steps, {tokens / 1e6:.1f}M tokens, {time.time() - began:.0f} s in all", flush=True)


if __name__ == "__main__":
    main()
