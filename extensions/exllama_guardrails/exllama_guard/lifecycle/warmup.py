"""When a freshly loaded model counts as warm, and how much slower its first run was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from exllama_guard.core.measures import Measure, NotScored, Reason

__all__ = [
    "EX1_RATIO",
    "MAX_RUNS",
    "PROBE_TOKENS",
    "WARM_RATIO",
    "Run",
    "first_run_ratio",
    "is_warm",
    "needs_another_run",
    "probe_prompts",
    "ratios",
    "tokens_per_s",
]

PROBE_TOKENS = 10  # new tokens of one run: the seed study's dummy batch
MAX_RUNS = 5  # docs/lifecycle.md
WARM_RATIO = (0.8, 1.25)  # docs/lifecycle.md: successive times to first token
EX1_RATIO = 1.5  # symptom EX1

# One word each, six letters, so that the prompts differ from their first token on and are equally long.
_SUBJECTS = (
    "Rivers",
    "Forest",
    "Planet",
    "Garden",
    "Winter",
    "Copper",
    "Letter",
    "Bridge",
    "Market",
    "Silver",
)
_PROMPT = "{} is the word that this short note is about. The note goes on to say that"


@dataclass(frozen=True, slots=True)
class Run:
    """One generation of the fence."""

    ttft_s: float  # time to first token, > 0
    elapsed_s: float  # the whole generation
    tokens: int
    text: str


def probe_prompts(count_tokens: Callable[[str], int] | None = None) -> tuple[str, ...]:
    """`MAX_RUNS` prompts of one length that differ from their first word on, always the same ones.

    With `count_tokens` they are equal in tokens where enough candidates are; without, in characters.
    """
    candidates = [_PROMPT.format(word) for word in _SUBJECTS]
    if count_tokens is None:
        return tuple(candidates[:MAX_RUNS])
    groups: dict[int, list[str]] = {}
    for prompt in candidates:
        groups.setdefault(count_tokens(prompt), []).append(prompt)
    best = max(groups.values(), key=len)
    rest = [prompt for prompt in candidates if prompt not in best]
    return tuple((best + rest)[:MAX_RUNS])


def ratios(runs: Sequence[Run]) -> tuple[float, ...]:
    """TTFT of each run over that of the run before; one fewer than the runs."""
    return tuple(b.ttft_s / a.ttft_s for a, b in pairwise(runs) if a.ttft_s > 0)


def is_warm(runs: Sequence[Run]) -> bool:
    """True when the last two ratios lie in WARM_RATIO."""
    low, high = WARM_RATIO
    last = ratios(runs)[-2:]
    return len(last) == 2 and all(low <= ratio <= high for ratio in last)


def needs_another_run(runs: Sequence[Run]) -> bool:
    """True until the model is warm, MAX_RUNS runs at most."""
    return len(runs) < MAX_RUNS and not is_warm(runs)


def first_run_ratio(runs: Sequence[Run]) -> Measure:
    """TTFT of run 1 over the median of the later ones (EX1); above EX1_RATIO the first run was cold."""
    if len(runs) < 2:
        return NotScored(Reason.NOT_ENOUGH_DATA, f"{len(runs)} runs; at least 2 are needed")
    later = median(run.ttft_s for run in runs[1:])
    if later <= 0:
        return NotScored(Reason.NOT_ENOUGH_DATA, "the clock did not advance during a run")
    return runs[0].ttft_s / later


def tokens_per_s(runs: Sequence[Run]) -> Measure:
    """Tokens a second of the last run, after its first token."""
    if not runs or runs[-1].tokens < 2:
        return NotScored(Reason.NOT_ENOUGH_DATA, "fewer than 2 tokens came")
    span_s = runs[-1].elapsed_s - runs[-1].ttft_s
    if span_s <= 0:
        return NotScored(Reason.NOT_ENOUGH_DATA, "all tokens came at once")
    return (runs[-1].tokens - 1) / span_s
