"""Evidence for the doctor's RoPE check: `python tests/bench/rope.py [MODEL] [--only float32 int8 ...]`.

One model, as it is and made worse (dtype, rounding to 8 and 4 bits, noise on its weights), reads the doctor's
long text and a technical one with its own RoPE base and with others. A right base is blamed where another one
of the doctor's reads better by more than the limit. For each wrong base: what reading alone gains by putting
the right one back, whether that is above the limit, and what a reference sees (the bases themselves, and KL).
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

from exllama_guard.backends.bundled import bundled_gguf  # noqa: E402
from exllama_guard.probes.doctor.detectors.files import BETTER_NATS  # noqa: E402 - needs the path
from exllama_guard.probes.doctor.model_check import TOKENS  # noqa: E402
from exllama_guard.probes.doctor.reading_rope import BASES, LONG_TOKENS  # noqa: E402
from exllama_guard.probes.measures.fixed_text import LONG_ENGLISH, PLAIN_ENGLISH  # noqa: E402
from exllama_guard.probes.measures.logit_drift import KL_LIMITS, logit_drift  # noqa: E402
from exllama_guard.probes.modes.transformers import LocalMode, ModeSpec  # noqa: E402

LENGTHS = (TOKENS, 480, LONG_TOKENS)
WRONG = (10_000.0, 50_000.0, 200_000.0, 500_000.0, 1_000_000.0)
NOISE = (0.05, 0.10)  # standard deviation of what is added to a weight, of that of its matrix


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
    inside, rows = mode.inside(), []
    for base in bases:
        with inside.with_base("", base):
            rows.append(-mode.logprobs(ids))
    return np.array(rows)


def beside_the_right_one(mode: LocalMode, bases: tuple[float, ...]) -> dict[float, float]:
    """Mean KL of each base to the first on the text that a reference is compared on."""
    ids = mode.token_ids(PLAIN_ENGLISH)[:TOKENS]
    found, right = {}, mode.distributions(ids)
    for base in bases:
        with mode.inside().with_base("", base):
            found[base] = logit_drift(right, mode.distributions(ids), ids).kl
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--only", nargs="*", default=[], help="float32, bfloat16, int8, int4, noise")
    options = parser.parse_args()
    technical = " ".join(
        file.read_text(encoding="utf-8") for file in sorted((EXTENSION / "docs_example").glob("*.md"))[:4]
    )
    texts = {"the doctor's": LONG_ENGLISH, "technical": technical}
    blamed: dict[int, list[float]] = {length: [] for length in LENGTHS}
    gains: dict[tuple[int, float], list[float]] = {}
    kl: dict[float, float] = {}
    print(f"limit {BETTER_NATS} nats; by length {LENGTHS}: NLL of the own base, margin of the best other one")
    for label, mode in variants(options.model or bundled_gguf(), options.only):
        own = mode.inside().bases()[""]
        bases = (own, *(base for base in WRONG if abs(base / own - 1) > 0.05))
        kl = kl or beside_the_right_one(mode, bases)
        others = [place for place, base in enumerate(bases) if place and base in BASES]
        for name, text in texts.items():
            tokens = read(mode, mode.token_ids(text)[:LONG_TOKENS], bases)
            cells = []
            for length in LENGTHS:
                nll = tokens[:, : length - 1].mean(axis=1)
                blamed[length].append(float(nll[others].min() - nll[0]))
                for base, value in zip(bases[1:], nll[1:], strict=True):
                    gains.setdefault((length, base), []).append(float(value - nll[0]))
                cells.append(f"{nll[0]:.3f} {blamed[length][-1]:+.3f}")
            print(f"{label:10} {name:14} {' | '.join(cells)}", flush=True)
    for length in LENGTHS:
        wrong = sum(margin < -BETTER_NATS for margin in blamed[length])
        worst = min(blamed[length])
        print(f"\n{length} tokens: right base blamed {wrong} of {len(blamed[length])}, margin {worst:+.3f}")
        for (at, base), values in gains.items():
            if at == length:
                found = sum(value > BETTER_NATS for value in values)
                told = "KL too" if kl[base] > KL_LIMITS[0] else "by the bases, not by KL"
                gained = f"{min(values):+.3f} to {max(values):+.3f}"
                print(f"  base {base:9g}: alone {found} of {len(values)} ({gained}), ", end="")
                print(f"beside a reference {told} ({kl[base]:.3f})")


if __name__ == "__main__":
    main()
