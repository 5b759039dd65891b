# ruff: noqa: E501 (a training script: long tables of words and fields)
"""Trains the verifier: a 22 M cross-encoder that says whether evidence supports a claim.

`prepare` makes the training rows, `fit` trains a general model, then one model a fold (a whole
development set left out) and one on all sets, and writes out-of-fold scores. `fit` needs torch and
tokenizers; a GPU makes it minutes. The extension's `docs/decisions/verifier.md` has the data, the
licences and the figures.

    python tests/bench/train_verifier.py prepare --sources DIR --shared DIR --base DIR --data DIR
    python tests/bench/train_verifier.py fit --base DIR --data DIR --out DIR [--configs FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from auroc import auroc
from torch import nn
from verifier_model import Verifier, load_base
from verifier_report import by_record, report, units_of
from verifier_table import (
    SEPARATOR,
    Table,
    batches,
    encode,
    gather,
    open_tokenizer,
    read_rows,
    stream,
    write_rows,
)


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one run; learning rates are peaks of a warm-up and linear decay."""

    name: str = "base"
    general_epochs: float = 4.0
    general_rate: float = 1.2e-4
    fold_epochs: float = 2.0
    fold_rate: float = 4e-5
    replay: float = 0.3
    batch_tokens: int = 16384
    max_tokens: int = 384
    token_weight: float = 0.5
    dropout: float = 0.1
    seed: int = 1


def loss_of(
    logits: torch.Tensor, marks: torch.Tensor, batch: dict[str, torch.Tensor], token_weight: float
) -> torch.Tensor:
    """Cross-entropy for known labels, -log(1 - P(entailed)) for 'not entailed', and the token loss."""
    logits, marks = logits.float(), marks.float()
    y, log_p = batch["y"], torch.log_softmax(logits, -1)
    not_entailed = torch.logsumexp(log_p[:, :2], -1)
    chosen = log_p.gather(1, y.clamp(min=0).unsqueeze(1)).squeeze(1)
    smooth = torch.where(y == 2, not_entailed, log_p[:, 2])
    decision = -(0.95 * torch.where(y >= 0, chosen, not_entailed) + 0.05 * smooth).mean()
    known = batch["marks"] >= 0
    target = batch["marks"].clamp(min=0).float()
    each = nn.functional.binary_cross_entropy_with_logits(marks, target, reduction="none") * (
        1.0 + 2.0 * target
    )
    token = (each * known).sum() / known.sum().clamp(min=1)
    claim = (batch["kinds"] == 1) & (batch["mask"] == 1)
    pooled = torch.logsumexp(marks.masked_fill(~claim, -30.0), -1)
    unknown = ~known.any(-1) & (y != 2)
    bag = (nn.functional.softplus(-pooled) * unknown).sum() / unknown.sum().clamp(min=1)
    return decision + token_weight * (token + 0.2 * bag)


def train(
    model: Verifier,
    table: Table,
    picks: Sequence[np.ndarray],
    rate: float,
    config: Config,
    device: str,
    label: str,
) -> None:
    """Trains in place, one pass over each of `picks` (row numbers)."""
    rng = np.random.default_rng(config.seed)
    plan = [b for pick in picks for b in batches(table.length, pick, config.batch_tokens, rng)]
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}],
        lr=rate,
        fused=device == "cuda",
    )
    warm = max(1, int(0.06 * len(plan)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: min((i + 1) / warm, max(0.0, (len(plan) - i) / max(1, len(plan) - warm)))
    )
    model.train()
    began, total, since = time.time(), torch.zeros((), device=device), 0
    for step, batch in enumerate(stream(table, plan, device)):
        with torch.autocast(device, dtype=torch.bfloat16):
            logits, marks = model(batch["ids"], batch["mask"], batch["kinds"])
        loss = loss_of(logits, marks, batch, config.token_weight)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad(set_to_none=True)
        total += loss.detach()
        since += 1
        if (step + 1) % 1000 == 0 or step + 1 == len(plan):
            print(
                f"{label} step {step + 1}/{len(plan)} loss {float(total) / since:.4f} {time.time() - began:.0f} s",
                flush=True,
            )
            total.zero_()
            since = 0


@torch.no_grad()
def scores(model: Verifier, table: Table, device: str) -> np.ndarray:
    """(n, 4): P(contradicted), P(neutral), P(entailed), highest P(token unsupported)."""
    model.eval()
    out = np.zeros((len(table.y), 4))
    for numbers, width in batches(table.length, np.arange(len(table.y)), 32768, np.random.default_rng(0)):
        batch = {k: v.to(device) for k, v in gather(table, numbers, width).items()}
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            logits, marks = model(batch["ids"], batch["mask"], batch["kinds"])
        claim = (batch["kinds"] == 1) & (batch["mask"] == 1) & (batch["ids"] != SEPARATOR)
        worst = torch.sigmoid(marks.float().masked_fill(~claim, -30.0).amax(-1))
        out[numbers] = torch.cat([torch.softmax(logits.float(), -1), worst.unsqueeze(-1)], -1).cpu().numpy()
    return out


def fold(job: tuple[str, Path, Path, Path, Config]) -> np.ndarray:
    """Trains from the general weights without set `left_out` ('' = on all); scores the set left out."""
    left_out, data, base, out, config = job
    torch.set_num_threads(2)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(config.seed)
    model = load_base(base, config.dropout).to(device)
    model.load_state_dict(torch.load(out / "general.pt", map_location=device))
    table = Table.load(data / "rows.npz")
    mine = np.flatnonzero((table.set != left_out) & (table.set != ""))
    general = np.flatnonzero(table.set == "")
    rng = np.random.default_rng(config.seed)
    passes = math.ceil(config.fold_epochs)
    picks = [
        np.concatenate([mine, rng.choice(general, int(config.replay * len(general)), replace=False)])
        for _ in range(passes)
    ]
    if passes > config.fold_epochs:
        picks[-1] = rng.choice(
            picks[-1], int((config.fold_epochs - passes + 1) * len(picks[-1])), replace=False
        )
    train(model, table, picks, config.fold_rate, config, device, f"{config.name} fold {left_out or 'all'}")
    if not left_out:
        torch.save(
            {k: v.half().cpu() for k, v in model.state_dict().items()}, out / f"final_{config.name}.pt"
        )
        return np.zeros((0, 4))
    units = Table.load(data / "units.npz")
    own = np.flatnonzero(units.set == left_out)
    return scores(
        model,
        replace(units, start=units.start[own], length=units.length[own], y=units.y[own], set=units.set[own]),
        device,
    )


def fit(data: Path, base: Path, out: Path, configs: Sequence[Config], workers: int) -> None:
    """Trains the general model with the first config, then folds and final model of each; writes scores."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    out.mkdir(parents=True, exist_ok=True)
    began = time.time()
    table, units, records = (
        Table.load(data / "rows.npz"),
        Table.load(data / "units.npz"),
        read_rows(data / "dev.jsonl.gz"),
    )
    config = configs[0]
    torch.manual_seed(config.seed)
    general = np.flatnonzero(table.set == "")
    rng = np.random.default_rng(config.seed)
    rng.shuffle(general)
    held, used = np.split(general, [min(3000, len(general) // 10)])
    print(
        f"{len(general)} general rows, {len(table.y) - len(general)} development rows, {time.time() - began:.0f} s",
        flush=True,
    )
    if not (out / "general.pt").exists():
        model = load_base(base, config.dropout).to(device)
        whole = [used.copy() for _ in range(int(config.general_epochs))]
        rest = used[: int((config.general_epochs % 1) * len(used))]
        train(
            model,
            table,
            [*whole, rest.copy()] if len(rest) else whole,
            config.general_rate,
            config,
            device,
            "general",
        )
        torch.save(model.state_dict(), out / "general.pt")
        check = replace(
            table, start=table.start[held], length=table.length[held], y=table.y[held], set=table.set[held]
        )
        print(
            f"held-out general rows: AUROC of P(entailed) {auroc((check.y == 2).astype(int), scores(model, check, device)[:, 2]):.4f}",
            flush=True,
        )
        zero = by_record(records, scores(model, units, device))
        report(zero, "general model only (no development row seen)")
        write_rows(out / "general_scores.jsonl.gz", zero)
        del model
    names = sorted({r["set"] for r in records}, key=lambda n: -sum(r["set"] == n for r in records))
    import torch.multiprocessing as processes

    for config in configs:
        print(asdict(config), flush=True)
        jobs = [(name, data, base, out, config) for name in ["", *names]]
        with processes.get_context("spawn").Pool(workers) as pool:
            parts = dict(zip(["", *names], pool.map(fold, jobs, chunksize=1), strict=True))
        rows = [r for name in names for r in by_record([x for x in records if x["set"] == name], parts[name])]
        report(rows, f"leave one set out, {config.name}")
        write_rows(out / f"oof_{config.name}.jsonl.gz", rows)
        print(f"{time.time() - began:.0f} s", flush=True)


def prepare(
    sources: Path, shared: Path, base: Path, data: Path, budgets: Sequence[int], max_tokens: int
) -> None:
    """Writes `dev.jsonl.gz` (answers with chosen evidence), `units.npz` and `rows.npz` (encoded)."""
    import verifier_data
    import verifier_development
    from transformers import AutoModel, AutoTokenizer

    rng = random.Random(7)  # noqa: S311 - a fixed seed is meant
    data.mkdir(parents=True, exist_ok=True)
    rows = verifier_data.general_rows(sources, shared / "xquad_en.json", rng)
    if not (data / "dev.jsonl.gz").exists():
        full = AutoTokenizer.from_pretrained(base)
        embed = verifier_development.mean_pooled(
            AutoModel.from_pretrained(base, dtype=torch.float32).eval(), full
        )
        chooser = verifier_development.EvidenceChooser(
            embed, lambda texts: [len(x) for x in full(list(texts), add_special_tokens=False)["input_ids"]]
        )
        write_rows(
            data / "dev.jsonl.gz",
            verifier_development.development_rows(shared / "grounding_dev.jsonl", chooser, budgets),
        )
    records = read_rows(data / "dev.jsonl.gz")
    if "window" not in records[0]["budgets"]:
        verifier_development.add_product_windows(records, shared / "grounding_dev.jsonl")
        write_rows(data / "dev.jsonl.gz", records)
    documents = verifier_development.development_documents(shared / "grounding_dev.jsonl", rng)
    rows += verifier_development.development_training(records, documents, rng)
    tokenizer = open_tokenizer(base, max_tokens)
    encode(tokenizer, units_of(records)).save(data / "units.npz")
    encode(tokenizer, rows).save(data / "rows.npz")
    for set_ in sorted({r["set"] for r in rows}):
        print(set_ or "general", sum(r["set"] == set_ for r in rows))


def export(weights: Path, target: Path) -> None:
    """Writes the weights that `fit` made as int8 with one scale a row; small tensors as float16."""
    from safetensors.torch import save_file

    stored: dict[str, torch.Tensor] = {}
    for name, value in torch.load(weights, map_location="cpu").items():
        if name.startswith("mark."):
            continue
        if value.ndim == 2 and value.numel() > 4096:
            scale = value.float().abs().amax(dim=1).clamp(min=1e-8) / 127
            stored[name] = torch.round(value.float() / scale.unsqueeze(1)).to(torch.int8)
            stored[name + ".scale"] = scale.half() if scale.min() > 1e-4 else scale
        else:
            stored[name] = value.half()
    save_file(stored, target)
    print(f"{target}: {target.stat().st_size / 2**20:.1f} MiB")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["prepare", "fit", "export"])
    for name in ("sources", "shared", "base", "data", "out", "configs"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--workers", type=int, default=8)
    chosen = parser.parse_args()
    if chosen.step == "prepare":
        prepare(chosen.sources, chosen.shared, chosen.base, chosen.data, (160, 320), 384)
        return
    if chosen.step == "export":
        export(chosen.data, chosen.out)
        return
    configs = [Config(**x) for x in json.loads(chosen.configs.read_text())] if chosen.configs else [Config()]
    fit(chosen.data, chosen.base, chosen.out, configs, chosen.workers)


if __name__ == "__main__":
    main()
