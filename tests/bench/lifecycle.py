"""What the warm-up, the counting and the waiting cost: a table with medians, spreads and ratios.

    python tests/bench/lifecycle.py [--loads 3] [--turns 5]

1. The fence's own cost beyond generating its tokens (bound: 50 ms).
2. Counting tokens for rotation, in the reply's path and off it, as a share of the turn (bound: 0.1 %).
3. The first user turn's time to first token over the median of turns 2-5, with and without the fence
   (bound with the fence: 1.25), each load in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "extensions" / "exllama_guardrails"
sys.path[:0] = [str(EXTENSION / "exllama_guard" / "standalone" / "webui"), str(EXTENSION)]

QUESTIONS = (
    "What is a lake?",
    "Name three colours.",
    "Who was Newton?",
    "How do birds fly?",
    "What is iron?",
)


def one_load(fence: bool, turns: int) -> dict[str, object]:
    """Times of one load in this process, through the embedded host's own generation."""
    import modules.shared as shared
    import modules.text_generation as text_generation
    from exllama_guard.host.lifecycle.hooks import gating, loaded_model
    from exllama_guard.host.lifecycle.path import HostPath
    from exllama_guard.lifecycle import Lifecycle
    from exllama_guard.settings import Settings
    from exllama_guard.standalone.small_model import load_small_model

    class Silent:
        record_event = report_problem = clear_problem = staticmethod(lambda *_: None)

    settings = Settings(warmup=fence, warmup_limit_s=600.0)
    life = Lifecycle(
        lambda: settings, HostPath(), Silent(), lambda job: threading.Thread(target=job, daemon=True).start()
    )
    text_generation._generate_reply = gating(life)(text_generation._generate_reply)
    small = load_small_model(None)
    shared.model_name, shared.model, shared.tokenizer = "small", small.model, small.tokenizer
    life.model_changed(loaded_model())
    while not life._gate.is_open:
        time.sleep(0.01)
    report = life.snapshot().report
    state = {"max_new_tokens": 16, "do_sample": False, "seed": 1}
    ttfts, cpu, whole = [], [], []
    for question in (QUESTIONS * turns)[:turns]:
        prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        started_s, first_s, busy_s = time.perf_counter(), None, time.process_time()
        for text in text_generation.generate_reply(prompt, dict(shared.settings) | state, None, is_chat=True):
            if text and first_s is None:
                first_s = time.perf_counter() - started_s
                cpu.append(time.process_time() - busy_s)
        whole.append(time.perf_counter() - started_s)
        ttfts.append(first_s)
    in_path_s = _in_path(life)
    time.sleep(0.5)
    return {
        "ttfts_s": ttfts,
        "cpu_s": cpu,
        "turn_s": statistics.median(whole),
        "own_cost_s": report.own_cost_s if report else None,
        "fence_s": report.elapsed_s if report else None,
        "runs": len(report.runs) if report else 0,
        "counting_s": life.upkeep.counting_s / turns,
        "in_path_s": in_path_s,
    }


def _in_path(life) -> float:
    """Median seconds that handing a finished reply over takes in the reply's own path."""
    took = []
    for _ in range(200):
        started_s = time.perf_counter()
        life.reply_ended("a short prompt", "a short reply", 0.1)
        took.append(time.perf_counter() - started_s)
    return statistics.median(took)


def _row(name: str, values: list[float], unit: str, bound: str = "") -> None:
    spread = f"{min(values):.4g} .. {max(values):.4g}"
    print(f"{name:52} {statistics.median(values):>10.4g} {unit:3} ({spread}) {bound}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loads", type=int, default=3)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--one", choices=["fence", "bare"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one_load(options.one == "fence", options.turns)))
        return
    results: dict[str, list[dict]] = {"fence": [], "bare": []}
    for _ in range(options.loads):
        for kind, found in results.items():
            command = [sys.executable, __file__, "--one", kind, "--turns", str(options.turns)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    fenced = results["fence"]
    print(f"{options.loads} loads of {options.turns} turns each, with and without the fence")
    _row("fence: own cost beyond its tokens", [1000 * r["own_cost_s"] for r in fenced], "ms", "<= 50 ms")
    _row("fence: whole", [r["fence_s"] for r in fenced], "s")
    _row("counting, in the reply's path", [1e6 * r["in_path_s"] for r in fenced], "us")
    _row("  share of a turn", [100 * r["in_path_s"] / r["turn_s"] for r in fenced], "%", "<= 0.1 %")
    _row("counting, on its own thread", [1e6 * r["counting_s"] for r in fenced], "us")
    _row("  share of a turn", [100 * r["counting_s"] / r["turn_s"] for r in fenced], "%", "<= 0.1 %")
    for kind, found in results.items():
        ratios = [r["ttfts_s"][0] / statistics.median(r["ttfts_s"][1:5]) for r in found]
        bound = "<= 1.25" if kind == "fence" else ""
        _row(f"first turn's TTFT / median of turns 2-5, {kind}", ratios, "x", bound)
        ratios = [r["cpu_s"][0] / statistics.median(r["cpu_s"][1:5]) for r in found]
        _row("  the same in processor time (crowded machines)", ratios, "x", bound)


if __name__ == "__main__":
    main()
