"""What one answer of 8 sentences costs against 5 snippets, beyond the embedder, and a live update.

    python tests/bench/support_speed.py

Prints median and spread of 30 runs in milliseconds of the thread's processor time, which other programs do
not lengthen: a first score with and without the embedder's part, one more sentence of a growing answer, and
a search through 50 snippets of 1,000 words. Numbers change from run to run, so that nothing is remembered.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "extensions" / "exllama_guardrails"))
sys.path.insert(0, str(HERE))

from exllama_guard.core.snippets import make_snippet  # noqa: E402
from exllama_guard.grounding.support import AnswerScorer  # noqa: E402
from grounding import TimedEmbedder  # noqa: E402

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
        before, started = embedder.seconds, time.thread_time()
        scorer.score(answer)
        spent = time.thread_time() - started
        first.append(spent)
        own.append(spent - (embedder.seconds - before))
        before, started = embedder.seconds, time.thread_time()
        scorer.score(answer + f" The bridge is {run} metres long.", final=True)
        live.append(time.thread_time() - started - (embedder.seconds - before))
    line("8 sentences, 5 snippets: all", first)
    line("8 sentences, 5 snippets: beyond the embedder", own)
    line("one sentence more: beyond the embedder", live)
    rng = np.random.default_rng(0)
    words = [f"w{n}" for n in range(4000)]
    big = [
        make_snippet(". ".join(" ".join(rng.choice(words, 20)) for _ in range(50)) + ".", position=i)
        for i in range(50)
    ]
    started = time.thread_time()
    scorer = AnswerScorer(big, "")
    scorer.score("w1 w2 w3 is here.")
    line("50 snippets of 1,000 words: prepare, no embedder", [time.thread_time() - started])
    spent = []
    for run in range(10):
        started = time.thread_time()
        scorer.score(f"w{run} w{run + 9} w{run + 99} w{run + 999} is there.")
        spent.append(time.thread_time() - started)
    line("50 snippets of 1,000 words: one claim, no embedder", spent)


if __name__ == "__main__":
    main()
