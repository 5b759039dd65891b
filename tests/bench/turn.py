"""Prints what a turn costs: settled score, live score, one chunk, memory over 10,000 turns, imports.

Run: .venv/bin/python tests/bench/turn.py [--rounds 30]
Baseline of the settled score, in the same run: one forward of the embedder over the answer's sentences.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "extensions" / "exllama_guardrails"
sys.path.insert(0, str(EXTENSION))

from exllama_guard.assembly import build_monitor  # noqa: E402 - needs the path
from exllama_guard.core.snippets import make_snippet  # noqa: E402 - needs the path
from exllama_guard.core.turns import Finish, TurnRequest  # noqa: E402 - needs the path
from exllama_guard.embedders import load_embedder  # noqa: E402 - needs the path
from exllama_guard.grounding.scoring import Limits, score_turn  # noqa: E402 - needs the path
from exllama_guard.grounding.similarity import embed_ahead  # noqa: E402 - needs the path
from exllama_guard.monitor import Parts  # noqa: E402 - needs the path
from exllama_guard.settings import Settings  # noqa: E402 - needs the path
from exllama_guard.testing import make_monitor  # noqa: E402 - needs the path
from exllama_guard.worker.tasks import make_scorer  # noqa: E402 - needs the path

FILLER = (
    "after every long answer the loaded model reads its prompt again before another request can start while"
    " older text stays in memory and no new page is written until the user sends a second question"
)
WORDS = tuple(FILLER.split())
TOPICS = ("cache", "warm-up", "tool schema", "embedder", "shard", "quantisation", "retriever", "sampler")


def sentence(topic: str, number: int, words: int) -> str:
    """One sentence about `topic` that differs by `number`."""
    filler = " ".join(WORDS[(number * 7 + place) % len(WORDS)] for place in range(words - 9))
    return f"The {topic} of run {number} holds {number * 128 + 64} tokens and {filler}."


def snippets_of(round_number: int) -> list[str]:
    """5 snippets of 120 words."""
    return [
        " ".join(sentence(topic, round_number * 50 + index * 10 + place, 20) for place in range(6))
        for index, topic in enumerate(TOPICS[:5])
    ]


def answer_of(round_number: int) -> str:
    """8 sentences of 18 words."""
    return " ".join(sentence(topic, round_number * 50 + place, 18) for place, topic in enumerate(TOPICS))


def measured(name: str, unit: str, run: Callable[[int], float], rounds: int) -> list[float]:
    """Times of `rounds` runs, printed as one row."""
    times = [run(number) for number in range(rounds)]
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    print(f"{name:<46} p50 {cuts[49]:9.3f}  p10 {cuts[9]:9.3f}  p90 {cuts[89]:9.3f}  {unit}  n={rounds}")
    return times


def settled_and_baseline(rounds: int) -> None:
    """Settled score of a finished answer, snippets' embeddings cached, beside one plain forward."""
    settings = Settings(traces=False)
    monitor = build_monitor(settings)
    monitor.check_pasted("warm", ["warm up text"], "A warm-up answer that says something.")
    embedder = load_embedder()
    parts = Parts(embedder, None, None, None)
    model = embedder._loaded()

    def request_of(number: int) -> TurnRequest:
        texts = snippets_of(number)
        snippets = tuple(make_snippet(text, position=i) for i, text in enumerate(texts))
        return TurnRequest(f"t{number}", "How many tokens does the cache hold?", snippets)

    def settled(number: int, live_first: bool = False) -> float:
        request = request_of(number)
        scorer = make_scorer(request.snippets, request.question, parts, settings)
        kwargs = {"scorer": scorer, "embedder": embedder, "limits": Limits()}
        deque(scorer.prepare(), maxlen=0)  # as when the turn was opened
        deque(embed_ahead(request.question, request.snippets, embedder), maxlen=0)
        answer = answer_of(number)
        if live_first:
            cut = answer.rindex(". ") + 1
            score_turn(request, answer[:cut], Finish.STREAMING, **kwargs)
        started = time.perf_counter()
        score_turn(request, answer, Finish.COMPLETE, **kwargs)
        return (time.perf_counter() - started) * 1e3

    def forward(number: int) -> float:
        texts = answer_of(1000 + number).split(". ")
        started = time.perf_counter()
        model.encode(texts, batch_size=32, show_progress_bar=False)
        return (time.perf_counter() - started) * 1e3

    plain = measured("one MiniLM forward of 8 sentences (baseline)", "ms", forward, rounds)
    cold = measured("settled score, nothing streamed before", "ms", settled, rounds)
    live = measured("settled score after live scoring", "ms", lambda n: settled(500 + n, True), rounds)
    for name, times in (("nothing streamed", cold), ("after live scoring", live)):
        print(f"  ratio to the baseline, {name}: {statistics.median(times) / statistics.median(plain):.2f}")


def chunks(rounds: int) -> None:
    """What one chunk and one close cost on the reply's own path."""
    monitor = make_monitor()
    turn = monitor.open_turn(TurnRequest("t", "question", (make_snippet("text", position=0),)))

    def one(number: int) -> float:
        started = time.perf_counter()
        turn.chunk("text " * (number % 50))
        return (time.perf_counter() - started) * 1e6

    times = measured("one chunk on the reply's path", "µs", one, rounds * 100)
    print(f"  p99 {statistics.quantiles(times, n=100)[98]:.1f} µs")


def memory() -> None:
    """Resident memory after 1,000 and after 11,000 turns over fakes."""
    monitor = make_monitor()
    snippet = make_snippet("The cache holds 8192 tokens.", position=0)
    sizes = []
    for number in range(11_000):
        turn = monitor.open_turn(TurnRequest(f"t{number}", "How many tokens?", (snippet,)))
        turn.chunk("The cache")
        turn.close("The cache holds 8192 tokens.", Finish.COMPLETE)
        if number % 60 == 0:
            monitor.wait_until_idle()
        if number in (1_000, 10_999):
            monitor.wait_until_idle()
            gc.collect()
            sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(f"peak resident memory after 1,000 turns {sizes[0]:.1f} MB, after 11,000 turns {sizes[1]:.1f} MB")


def imports(rounds: int) -> None:
    """Time to import what setup() needs, each in a fresh process."""
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); start = time.perf_counter();"
        "import exllama_guard.monitor, exllama_guard.assembly, exllama_guard.settings;"
        "print(time.perf_counter() - start, 'torch' in sys.modules)"
    )

    def one(_: int) -> float:
        done = subprocess.run(
            [sys.executable, "-c", code, str(EXTENSION)], capture_output=True, text=True, check=True
        )
        seconds, torch_loaded = done.stdout.split()
        if torch_loaded == "True":
            raise SystemExit("torch came along with the imports")
        return float(seconds) * 1e3

    measured("imports at the start of the extension", "ms", one, max(5, rounds // 3))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    settled_and_baseline(rounds)
    chunks(rounds)
    memory()
    imports(rounds)


if __name__ == "__main__":
    main()
