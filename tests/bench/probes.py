"""Prints what the statistics of probes cost, and how often noise alone is called a trend. No model is needed.

python tests/bench/probes.py
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "extensions" / "exllama_guardrails"))

from exllama_guard.core.measures import Gate
from exllama_guard.probes.lambda_probe import LambdaProbe, judge_answers
from exllama_guard.probes.measures.equivalence import Outcome, equivalence
from exllama_guard.probes.measures.resonance import Trend, resonance_trend
from exllama_guard.probes.measures.stability import Answer
from exllama_guard.testing import FakeEmbedder

RUNS = 15


def timed(name: str, work: Callable[[], object]) -> None:
    """Prints median and spread in milliseconds; the first run, which imports scipy, is printed apart."""
    times = []
    for _ in range(RUNS + 1):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    first, rest = times[0], sorted(times[1:])
    print(f"{name:44} {statistics.median(rest):8.1f} {rest[0]:8.1f} {rest[-1]:8.1f} {first:9.1f}")


def noise_alarms(series: int = 200) -> tuple[float, float]:
    """Share of trendless series whose slope's interval leaves 0: blocks, and as if means were independent."""
    from scipy.stats import theilslopes

    draw = np.random.default_rng(5)
    blocks = naive = 0
    for _ in range(series):
        values = draw.normal(0.4, 0.1, 40)
        trend = resonance_trend([float(value) for value in values])
        blocks += isinstance(trend, Trend) and not trend.low <= 0.0 <= trend.high
        plain = theilslopes(np.convolve(values, np.full(5, 0.2), "valid"))
        naive += not plain.low_slope <= 0.0 <= plain.high_slope
    return blocks / series, naive / series


def equivalence_errors(series: int = 200) -> tuple[float, float]:
    """Share of modes that are 0.02 worse, the band's edge, yet pass; and of equal ones that do not."""
    draw = np.random.default_rng(6)
    wrong = missed = 0
    for _ in range(series):
        before = draw.uniform(0.2, 0.6, 30)
        noise = draw.normal(0, 0.03, 30)
        wrong += equivalence(list(before), list(before + 0.02 + noise)).outcome is Outcome.FLAT
        missed += equivalence(list(before), list(before + noise)).gate is not Gate.PASS
    return wrong / series, missed / series


def main() -> None:
    """Prints the tables."""
    probe = LambdaProbe("How many tokens?", forms=("a?", "b?", "c?"), citations_wanted=False)
    answers = [
        Answer(i % 6 // 2, i % 2, f"The cache of {i % 3} holds 8192 tokens, it is said.") for i in range(12)
    ]
    draw = np.random.default_rng(1)
    a, b = draw.uniform(0.2, 0.6, 20), draw.uniform(0.2, 0.6, 20)
    long_run = [float(value) for value in draw.normal(0.4, 0.1, 200)]
    print(f"{'':44} {'median':>8} {'least':>8} {'most':>8} {'first':>9}  ms")
    timed(
        "λ of 12 answers (bag-of-words embedder)",
        lambda: judge_answers(answers, probe, planned=12, embedder=FakeEmbedder()),
    )
    timed("equivalence of 20 items", lambda: equivalence(list(a), list(b)))
    timed("slope of E_resonance over 100 turns", lambda: resonance_trend(long_run))
    blocks, naive = noise_alarms()
    print(
        f"\nslope of trendless noise, 40 turns, interval leaves 0: {blocks:.1%} (if taken for "
        f"independent: {naive:.1%})"
    )
    wrong, missed = equivalence_errors()
    print(f"30 items, noise 0.03: 0.02 worse yet flat {wrong:.1%}; equal yet not flat {missed:.1%}")


if __name__ == "__main__":
    main()
