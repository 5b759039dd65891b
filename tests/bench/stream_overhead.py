"""Prints what a streamed reply pays for being checked where another device writes it.

Run: .venv/bin/python tests/bench/stream_overhead.py [--pairs 10]
The writing thread is simulated: for each token some Python work, then a wait without the interpreter's
lock, as when a GPU computes. One reply with the guard and two without go
round; embedder and scoring are real.
The ratio of the two without tells how far two replies differ by themselves.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "extensions" / "exllama_guardrails"), str(ROOT / "tests" / "bench")]

from exllama_guard.assembly import build_monitor  # noqa: E402 - needs the path
from exllama_guard.core.records import Finish, TurnRequest, make_snippet  # noqa: E402 - needs the path
from exllama_guard.settings import Settings  # noqa: E402 - needs the path
from turn import answer_of, snippets_of  # noqa: E402 - needs the path

PYTHON_MS, WAIT_MS, WORDS = 2.0, 6.0, 400  # a token; words of a reply


def calibrated(python_ms: float) -> int:
    """Rounds of an empty loop that take `python_ms` of processor time."""
    started = time.perf_counter()
    for _ in range(2_000_000):
        pass
    return int(python_ms / 1000 * 2_000_000 / (time.perf_counter() - started))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    pairs = parser.parse_args().pairs
    rounds = calibrated(PYTHON_MS)
    monitor = build_monitor(Settings(traces=False))
    monitor.check_pasted("warm", ["warm up text"], "A warm-up answer that says something.")

    def reply(number: int, guarded: bool) -> tuple[float, float]:
        """Seconds to the first token and to the last."""
        snippets = tuple(make_snippet(text, position=i) for i, text in enumerate(snippets_of(number)))
        words = " ".join(answer_of(number * 3 + part) for part in range(3)).split()[:WORDS]
        started, first_s, text = time.perf_counter(), 0.0, ""
        handle = None
        if guarded:
            handle = monitor.open_turn(
                TurnRequest(f"{number}", "How many tokens does the cache hold?", snippets)
            )
        for word in words:
            for _ in range(rounds):
                pass
            time.sleep(WAIT_MS / 1000)
            text = f"{text} {word}" if text else word
            if handle is not None:
                handle.chunk(text)
            first_s = first_s or time.perf_counter() - started
        took_s = time.perf_counter() - started
        if handle is not None:
            handle.close(text, Finish.COMPLETE)
            monitor.wait_until_idle(20)
        return first_s, took_s

    ratios, firsts, same = [], [], []
    for number in range(pairs):
        ways = ("guarded", "plain", "again")
        first = number % len(ways)
        took = {way: reply(number, way == "guarded") for way in (*ways[first:], *ways[:first])}
        ratios.append(took["plain"][1] / took["guarded"][1])
        same.append(took["plain"][1] / took["again"][1])
        firsts.append((took["guarded"][0] - took["plain"][0]) * 1000)
    low = statistics.quantiles(ratios, n=20, method="inclusive")[0]
    print(
        f"tokens/s with the guard / without  median {statistics.median(ratios):.3f}  p5 {low:.3f}  n={pairs}"
    )
    told = f"median {statistics.median(same):.3f}  range {min(same):.3f} to {max(same):.3f}"
    print(f"tokens/s without / without          {told}")
    print(
        f"first token, with - without        median {statistics.median(firsts):.1f} ms  max {max(firsts):.1f}"
    )


if __name__ == "__main__":
    main()
