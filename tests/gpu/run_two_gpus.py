"""Two GPUs: split in both orders and tensor-parallel; shard_hash, logits beside one GPU, and what EX5 says.

Run: python tests/gpu/run_two_gpus.py --models gpu-models --out gpu-results --baseline base
     CUDA_VISIBLE_DEVICES=1,0 python tests/gpu/run_two_gpus.py … --baseline base --name swapped

The second run has the devices in the wrong order and is held against the first.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import gpu_record  # noqa: F401 - puts the extension on the path
import numpy as np
from exllama_guard.backends.loaded import cuda_devices
from exllama_guard.probes.doctor.detectors.model import shards
from exllama_guard.probes.measures.logit_drift import LogitDrift, logit_drift
from gpu_record import Record, options
from sections import one_pass, opened, prose, spec_of

TOKENS = 512
# GB a device: the small model fits one, so the split is drawn inside it; the second order is the wrong one
SPLITS = {"exllamav2": ("0.3,8", "0.6,8", "8,0.3"), "exllamav3": ("0.3,8", "8,0.3")}
BACKENDS = {"exllamav2": ("",), "exllamav3": ("native", "nccl")}
FOLDERS = {"exllamav2": "fp16", "exllamav3": "fp16-padded"}


def main() -> int:
    given = options(__doc__ or "", _arguments)
    if given.folder:
        FOLDERS.update(dict.fromkeys(FOLDERS, given.folder))
    record = Record(f"two_gpus{given.name and '_' + given.name}", given)
    record.data["devices"] = list(cuda_devices())
    for library in given.libraries.split(","):
        baselines: dict[str, object] = {}
        kept = given.baseline.with_name(f"{given.baseline.name}-{library}.npz") if given.baseline else None
        if kept and kept.exists():
            read = np.load(kept)
            baselines = {"hash": str(read["hash"]), "logs": read["logs"]}
        cases = [("one GPU", {"split": "8,0" if library == "exllamav3" else "8"})]
        cases += [(f"split {split}", {"split": split}) for split in SPLITS[library]]
        cases += [
            (f"tensor-parallel {backend}".strip(), {"tensor_parallel": True, "tensor_backend": backend})
            for backend in BACKENDS[library]
        ]
        for name, how in cases:
            record.run(
                f"{library}:{name}",
                lambda values, n=name, h=how, lib=library, b=baselines: _case(
                    given, lib, n, h, b, values, record
                ),
            )
        if kept and not kept.exists() and "logs" in baselines:
            np.savez(kept, hash=baselines["hash"], logs=baselines["logs"])
    return record.close()


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--libraries", default="exllamav2,exllamav3")
    parser.add_argument("--baseline", type=Path, help="where the first run's baseline is kept for the next")
    parser.add_argument("--folder", default="", help="a folder of --models instead of the unquantised one")
    parser.add_argument("--name", default="", help="added to the result's name")


def _case(given, library, name, how, baselines, values, record: Record) -> None:
    """One way to load; the first is the baseline, as a user's first load is."""
    started_s = time.perf_counter()
    with opened(spec_of(given, library, FOLDERS[library], **how)) as (mode, backend):
        values["load_s"] = time.perf_counter() - started_s
        card = backend.card()
        ids = mode.token_ids(prose())[:TOKENS]
        first, second = one_pass(mode, ids), one_pass(mode, ids)
        started_s = time.perf_counter()
        greedy = backend.greedy("The capital of France is", 24)
        canary_s = time.perf_counter() - started_s
        floor = logit_drift(first, second, ids)
        values |= {
            "shard_hash": card.shard_hash,
            "shards": card.shards,
            "layers_on": _layers(mode),
            "canary": greedy.text,
            "canary_s": canary_s,
            "floor": floor,
        }
    before = baselines.setdefault("hash", card.shard_hash)
    reference = baselines.setdefault("logs", first)
    drift = None if reference is first else logit_drift(reference, first, ids)
    values["drift"] = drift
    found = shards(
        None if drift is None else before,
        card.shard_hash,
        drift if isinstance(drift, LogitDrift) else None,
        floor.kl if isinstance(floor, LogitDrift) else 0.0,
        canary_s,
    )
    values["EX5"] = [found.verdict.value, found.evidence]
    told = (
        "baseline" if drift is None else f"KL {drift.kl:.2g} (floor {floor.kl:.2g}), top-1 {drift.top1:.3f}"
    )
    record.row(
        f"{library}, {name}",
        f"{values['layers_on']}, hash {card.shard_hash[:8]}, {told}, EX5 {found.verdict.value}",
    )


def _layers(mode) -> str:
    """How many modules lie on each device."""
    counts: dict[str, int] = {}
    for module in getattr(mode.held.model, "modules", ()):
        device = getattr(module, "device", None)
        device = getattr(module, "device_idx", "?") if device is None or callable(device) else device
        counts[str(device)] = counts.get(str(device), 0) + 1
    return ", ".join(f"{count} on {device}" for device, count in sorted(counts.items()))


if __name__ == "__main__":
    raise SystemExit(main())
