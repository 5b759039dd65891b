"""Prints what a streamed reply pays for being checked where another device writes it.

Run: .venv/bin/python tests/bench/stream_overhead.py [--pairs 10] [--words 400]
The writing thread is simulated: for each token some Python work, then a wait without the interpreter's
lock, as when a GPU computes. One reply with the guard and two without go
round; embedder and scoring are real.
The ratio of the two without tells how far two replies differ by themselves; what a guarded reply
lost beside scoring is also read off its own tokens.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / place) for place in ("extensions/exllama_guardrails", "tests/bench", "tests")]

from beside import lost_beside, told_jobs  # noqa: E402 - needs the path
from exllama_guard.assembly import build_monitor  # noqa: E402 - needs the path
from exllama_guard.core.snippets import make_snippet  # noqa: E402 - needs the path
from exllama_guard.core.turns import Finish, TurnRequest  # noqa: E402 - needs the path
from exllama_guard.settings import Settings  # noqa: E402 - needs the path
from turn import answer_of, snippets_of  # noqa: E402 - needs the path

PYTHON_MS, WAIT_MS = 2.0, 6.0  # a token
WORDS_A_PART = 130  # of `answer_of`, at least


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
    parser.add_argument("--words", type=int, default=400, help="of a reply")
    pairs, length = vars(parser.parse_args()).values()
    rounds = calibrated(PYTHON_MS)
    monitor = build_monitor(Settings(traces=False))
    monitor.check_pasted("warm", ["warm up text"], "A warm-up answer that says something.")

    jobs = told_jobs(monitor)

    def reply(number: int, guarded: bool) -> tuple[float, list[float]]:
        """Seconds to the first token; when each came."""
        snippets = tuple(make_snippet(text, position=i) for i, text in enumerate(snippets_of(number)))
        parts = 1 + length // WORDS_A_PART
        words = " ".join(answer_of(number * parts + part) for part in range(parts)).split()[:length]
        started, times_s, text = time.perf_counter(), [], ""
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
            times_s.append(time.perf_counter())
        if handle is not None:
            handle.close(text, Finish.COMPLETE)
            monitor.wait_until_idle(20)
        return times_s[0] - started, times_s

    ratios, firsts, same, lost = [], [], [], []
    for number in range(pairs):
        ways = ("guarded", "plain", "again")
        first = number % len(ways)
        took = {}
        for way in (*ways[first:], *ways[:first]):
            jobs.clear()
            first_s, times_s = reply(number, way == "guarded")
            took[way] = first_s, times_s[-1] - times_s[0] + first_s
            if way == "guarded":
                lost.append(lost_beside(times_s, jobs).share)
        ratios.append(took["plain"][1] / took["guarded"][1])
        same.append(took["plain"][1] / took["again"][1])
        firsts.append((took["guarded"][0] - took["plain"][0]) * 1000)
    low = statistics.quantiles(ratios, n=20, method="inclusive")[0]
    print(
        f"tokens/s with the guard / without  median {statistics.median(ratios):.3f}  p5 {low:.3f}  n={pairs}"
    )
    print(f"lost beside scoring                 median {statistics.median(lost):.3f}  max {max(lost):.3f}")
    told = f"median {statistics.median(same):.3f}  range {min(same):.3f} to {max(same):.3f}"
    print(f"tokens/s without / without          {told}")
    print(
        f"first token, with - without        median {statistics.median(firsts):.1f} ms  max {max(firsts):.1f}"
    )


if __name__ == "__main__":
    main()
