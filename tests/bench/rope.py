"""Evidence for the doctor's RoPE limit: `python tests/bench/rope.py [MODEL_FOLDER]`.

One model, made worse in several ways (dtype, rounding to 8 and 4 bits, noise on its weights), reads several
texts with its own RoPE base and with others. "margin" is how much worse the best other base reads than its
own: below minus the limit the doctor would blame a right base. "finds" is by how much the own base reads
better than a wrong one that is configured: above the limit the doctor finds it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "extensions" / "exllama_guardrails"
sys.path.insert(0, str(EXTENSION))

from exllama_guard.core.detect_model import BETTER_NATS  # noqa: E402 - needs the path
from exllama_guard.core.fixed_text import PLAIN_ENGLISH  # noqa: E402
from exllama_guard.probes.local_mode import LocalMode, ModeSpec  # noqa: E402
from exllama_guard.probes.model_check import BASES, TOKENS, _base, _with_base  # noqa: E402
from exllama_guard.standalone.small_model import bundled_gguf  # noqa: E402

LENGTHS = (60, 120, TOKENS, 480)
NOISE = (0.02, 0.05, 0.10)  # standard deviation of what is added to a weight, of that of its matrix


def variants(path: Path, only: list[str]) -> Iterator[tuple[str, LocalMode]]:
    """The model in each way of being worse, one loaded at a time."""
    for form in ("float32", "bfloat16", "int8", "int4"):
        if only and form not in only:
            continue
        mode = LocalMode(ModeSpec(form, path, form=form))
        yield form, mode
        mode.close()
    for share in NOISE if not only or "noise" in only else ():
        mode = LocalMode(ModeSpec("noise", path))
        _shake(mode._model, share)
        yield f"noise {share:.0%}", mode
        mode.close()


def _shake(model: Any, share: float) -> None:
    import torch

    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight += torch.randn(weight.shape, generator=draw) * weight.std() * share


def read(mode: LocalMode, ids: tuple[int, ...], bases: tuple[float, ...]) -> np.ndarray:
    """NLL of each token with each base, shape (bases, n - 1)."""
    rotary, rows = mode.rotary(), []
    for base in bases:
        with _with_base(rotary, base):
            rows.append(-mode.logprobs(ids))
    return np.array(rows)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--only", nargs="*", default=[], help="float32, bfloat16, int8, int4, noise")
    options = parser.parse_args()
    path = options.model or bundled_gguf()
    texts = {"plain English": PLAIN_ENGLISH * 3}
    for file in sorted((EXTENSION / "docs_example").glob("*.md"))[:2]:
        texts[file.stem] = file.read_text(encoding="utf-8")
    margins: dict[int, list[float]] = {length: [] for length in LENGTHS}
    finds: dict[tuple[int, float], list[float]] = {}
    print(f"limit {BETTER_NATS} nats; NLL of own base, then margin, by length {LENGTHS}")
    for label, mode in variants(path, options.only):
        own = _base(mode.rotary())
        bases = (own, *(base for base in BASES if abs(base / own - 1) > 0.05))
        for name, text in texts.items():
            ids = mode.token_ids(text)[: max(LENGTHS)]
            tokens = read(mode, ids, bases)
            cells = []
            for length in LENGTHS:
                nll = tokens[:, : length - 1].mean(axis=1)
                margins[length].append(float(nll[1:].min() - nll[0]))
                for base, value in zip(bases[1:], nll[1:], strict=True):
                    finds.setdefault((length, base), []).append(float(value - nll.min()))
                cells.append(f"{nll[0]:.2f} {margins[length][-1]:+.3f}")
            print(f"{label:10} {name:20} {' | '.join(cells)}", flush=True)
    for length in LENGTHS:
        low, middle = min(margins[length]), float(np.median(margins[length]))
        print(f"\n{length} tokens: worst margin {low:+.3f}, median {middle:+.3f}")
        for (at, base), values in finds.items():
            if at == length:
                found = np.mean(np.array(values) > BETTER_NATS)
                print(f"  configured {base:9g}: finds {found:.0%} (median {np.median(values):+.3f})")


if __name__ == "__main__":
    main()
