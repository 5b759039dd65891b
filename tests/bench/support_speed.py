"""What one answer of 8 sentences costs against 5 snippets, beyond the embedder, and what a live update costs.

    python tests/bench/support_speed.py

Prints median and spread of 30 runs in milliseconds: preparing the snippets, a first score, the same score
with
the embedder's own time taken off, one more sentence of a growing answer, and a search through 50 snippets of
1,000 words. Words are numbered so that no run finds the last run's answers remembered.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from exllama_guard.core.records import make_snippet
from exllama_guard.core.support import AnswerScorer
from grounding import TimedEmbedder

FACTS = (
    "The plant in Lyon made {n} engines in March 2021 and sold most of them to Spain",
    "Its chief engineer, Clara Weiss, said that output would rise by {n} percent in the next year",
    "The river below the dam carries about {n} cubic metres of water a second in spring",
    "Students who joined the course before June pay {n} dollars less than the others",
    "A second report, published by the ministry, found no damage to the bridge after {n} days",
    "The museum keeps {n} paintings from the early period in a cellar under the old hall",
    "Most of the {n} farmers asked by the survey wanted a lower tax on diesel fuel",
    "The new line links the harbour with the airport and cost {n} million euros to build",
)


def line(name: str, values: list[float]) -> None:
    """Prints one measurement: median and the 10th and 90th percentile, in ms."""
    low, middle, high = np.percentile(np.array(values) * 1000, (10, 50, 90))
    print(f"{name:52s} {middle:8.1f} ms   ({low:.1f} to {high:.1f})")


def main() -> None:
    """Measures and prints."""
    embedder = TimedEmbedder()
    embedder.embed(["warm"])
    first, own, live = [], [], []
    for run in range(30):
        facts = [fact.format(n=run * 37 + 11 + i) for i, fact in enumerate(FACTS)]
        texts = [". ".join(facts[i:] + facts[:i]) + "." for i in range(5)]
        snippets = [make_snippet(text, position=i) for i, text in enumerate(texts)]
        answer = " ".join(fact.replace("The ", "That ").replace("said", "stated") + "." for fact in facts)
        scorer = AnswerScorer(snippets, "", embedder)
        scorer.score("The engines were made.")  # the snippets are prepared when the turn starts
        before, started = embedder.seconds, time.perf_counter()
        scorer.score(answer)
        spent = time.perf_counter() - started
        first.append(spent)
        own.append(spent - (embedder.seconds - before))
        before, started = embedder.seconds, time.perf_counter()
        scorer.score(answer + f" The bridge is {run} metres long.", final=True)
        live.append(time.perf_counter() - started - (embedder.seconds - before))
    line("8 sentences, 5 snippets: all", first)
    line("8 sentences, 5 snippets: beyond the embedder", own)
    line("one sentence more: beyond the embedder", live)
    rng = np.random.default_rng(0)
    words = [f"w{n}" for n in range(4000)]
    big = [
        make_snippet(". ".join(" ".join(rng.choice(words, 20)) for _ in range(50)) + ".", position=i)
        for i in range(50)
    ]
    started = time.perf_counter()
    scorer = AnswerScorer(big, "")
    scorer.score("w1 w2 w3 is here.")
    line("50 snippets of 1,000 words: prepare, no embedder", [time.perf_counter() - started])
    spent = []
    for run in range(10):
        started = time.perf_counter()
        scorer.score(f"w{run} w{run + 9} w{run + 99} w{run + 999} is there.")
        spent.append(time.perf_counter() - started)
    line("50 snippets of 1,000 words: one claim, no embedder", spent)


if __name__ == "__main__":
    main()
