"""λ: do repeated answers agree (`lambda_probe`), and where do successive turns go (`lambda_step`).

Two separate values with one set of signs; they are never mixed. Definitions: docs/probes.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import combinations

from exllama_guard.core.measures import Gate, Measure, NotScored, Reason

__all__ = [
    "Answer",
    "LambdaReport",
    "RunState",
    "citation_iou",
    "judge_runs",
    "lambda_step",
    "semantic_entropy",
    "wilson_low",
]

FORMS = 3  # the probe's grid: docs/probes.md
SEEDS = 2
CONVERGENT_SHARE = 0.80  # 5 of 6


class RunState(str, Enum):
    """Direction of one run, of a probe, or of a step between turns."""

    CONVERGENT = "→"
    RECURSIVE = "<>"
    DIVERGENT = "←"
    CHAOTIC = "×"


@dataclass(frozen=True, slots=True)
class Answer:
    """One run of the grid. `cluster` is None where there is nothing to cluster (aborted, empty)."""

    form: int  # 0 is the original question
    seed: int
    text: str
    cluster: int | None = None
    cited: frozenset[str] = frozenset()
    refused: bool = False
    aborted: bool = False
    state: RunState | None = None


@dataclass(frozen=True, slots=True)
class LambdaReport:
    """A judged grid. `verdict` is a state, or NotScored where too few runs finished."""

    runs: tuple[Answer, ...]
    verdict: RunState | NotScored
    gate: Gate
    n: int  # runs that count: one a form where the sampler is deterministic
    convergent: int
    low: Measure  # Wilson 95 % lower bound of the convergent share
    entropy: Measure  # normalised semantic entropy, [0, 1]
    iou: Measure  # mean pairwise intersection over union of citations, [0, 1]
    clusters: int
    tie: bool  # two clusters are largest
    seeds_degenerate: bool
    strict: bool
    reasons: tuple[str, ...]


def wilson_low(hits: int, n: int) -> Measure:
    """Lower end of the two-sided 95 % Wilson interval of `hits` of `n`, in [0, 1] (Wilson 1927, by scipy)."""
    if n < 1:
        return NotScored(Reason.NOT_ENOUGH_DATA, "no runs")
    from scipy.stats import binomtest

    return float(binomtest(hits, n).proportion_ci(confidence_level=0.95, method="wilson").low)


def semantic_entropy(clusters: Sequence[int]) -> Measure:
    """H / ln n of the shares of the clusters, in [0, 1]: 0 all agree, 1 no two do (Kuhn et al. 2023)."""
    n = len(clusters)
    if n < 2:
        return NotScored(Reason.NOT_ENOUGH_DATA, f"{n} answers; at least 2 are needed")
    shares = [count / n for count in Counter(clusters).values()]
    entropy = -sum(share * math.log(share) for share in shares) / math.log(n)
    return min(1.0, max(0.0, entropy))


def citation_iou(cited: Sequence[frozenset[str]]) -> Measure:
    """Mean pairwise |a ∩ b| / |a ∪ b| in [0, 1] over the pairs of which one cites at all."""
    pairs = [(a, b) for a, b in combinations(cited, 2) if a or b]
    if not pairs:
        return NotScored(Reason.NO_CITATIONS)
    return sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs)


def judge_runs(
    runs: Sequence[Answer],
    *,
    planned: int = FORMS * SEEDS,
    citations_wanted: bool,
    deterministic: bool = False,
    strict: bool = False,
    refusal_expected: bool = False,
) -> LambdaReport:
    """The state of each run and the verdict over them (docs/probes.md, λ).

    Args:
        runs: Finished runs with their clusters; states are set here.
        planned: Runs of the whole grid.
        citations_wanted: Snippets were given, so that an answer without a citation points nowhere.
        deterministic: The sampler draws nothing: seeds of a form are one run, counted once.
        strict: Every run must converge, instead of 80 %.
        refusal_expected: The right answer is a refusal (nothing to answer from).
    """
    counted = _one_a_form(runs) if deterministic else tuple(runs)
    modal, tie = _modal(counted, refusal_expected)
    judged = tuple(
        replace(
            run,
            state=_state(run, modal, _modal_citations(counted, modal), citations_wanted, refusal_expected),
        )
        for run in runs
    )
    of_counted = _one_a_form(judged) if deterministic else judged
    wanted = min(planned, len({run.form for run in runs})) if deterministic and runs else planned
    clustered = [run.cluster for run in of_counted if run.cluster is not None]
    states = [run.state for run in of_counted]
    convergent = states.count(RunState.CONVERGENT)
    verdict, reasons = _verdict(of_counted, wanted, strict, tie)
    reasons += _degenerate(deterministic, len(runs))
    return LambdaReport(
        runs=judged,
        verdict=verdict,
        gate=_gate(verdict, deterministic),
        n=len(of_counted),
        convergent=convergent,
        low=wilson_low(convergent, len(of_counted)),
        entropy=semantic_entropy(clustered),
        iou=citation_iou([run.cited for run in of_counted if not run.aborted and not run.refused]),
        clusters=len(set(clustered)),
        tie=tie,
        seeds_degenerate=deterministic,
        strict=strict,
        reasons=tuple(reasons),
    )


def _one_a_form(runs: Sequence[Answer]) -> tuple[Answer, ...]:
    first: dict[int, Answer] = {}
    for run in runs:
        first.setdefault(run.form, run)
    return tuple(first.values())


def _modal(runs: Sequence[Answer], refusal_expected: bool) -> tuple[int | None, bool]:
    """The largest cluster of answers that count, the earlier one of two; and whether two are largest."""
    counts = Counter(
        run.cluster for run in runs if run.cluster is not None and (refusal_expected or not run.refused)
    )
    if not counts:
        return None, False
    most = max(counts.values())
    largest = [cluster for cluster, count in counts.items() if count == most]
    return largest[0], len(largest) > 1


def _modal_citations(runs: Sequence[Answer], modal: int | None) -> frozenset[str]:
    """What at least half of the modal cluster's citing runs cite, else what most of them cite."""
    citing = [run.cited for run in runs if run.cluster == modal and modal is not None and run.cited]
    counts = Counter(name for cited in citing for name in cited)
    if not counts:
        return frozenset()
    least = min(len(citing) / 2, max(counts.values()))
    return frozenset(name for name, count in counts.items() if count >= least)


def _state(
    run: Answer,
    modal: int | None,
    modal_citations: frozenset[str],
    citations_wanted: bool,
    refusal_expected: bool,
) -> RunState:
    if run.aborted or run.cluster is None:
        return RunState.DIVERGENT
    if run.refused or refusal_expected:
        return RunState.CONVERGENT if run.refused and refusal_expected else RunState.DIVERGENT
    if citations_wanted and not run.cited:
        return RunState.DIVERGENT
    agrees = run.cluster == modal
    cites_alike = not citations_wanted or bool(run.cited & modal_citations)
    if agrees and cites_alike:
        return RunState.CONVERGENT
    # Without snippets there is nothing to cite alike, so a run outside the modal cluster has neither.
    one_of_two = agrees or (citations_wanted and cites_alike)
    return RunState.RECURSIVE if one_of_two else RunState.CHAOTIC


def _verdict(
    runs: Sequence[Answer], planned: int, strict: bool, tie: bool
) -> tuple[RunState | NotScored, list[str]]:
    n = len(runs)
    if n < planned or n < 2:
        why = f"{n} of {planned} runs finished"
        return NotScored(Reason.NOT_ENOUGH_DATA, why), [f"λ was not judged: {why}."]
    count = Counter(run.state for run in runs)
    convergent, chaotic = count[RunState.CONVERGENT], count[RunState.CHAOTIC]
    divergent, recursive = count[RunState.DIVERGENT], count[RunState.RECURSIVE]
    sentence = [
        f"{convergent} of {n} runs agree (→), {recursive} in part (<>), "
        f"{divergent} give up or cite nothing (←), {chaotic} say something else (×)."
    ]
    if tie:
        sentence.append("Two answers are equally frequent; the earlier one counts as the common one.")
    enough = convergent == n if strict else convergent / n >= CONVERGENT_SHARE
    if enough and chaotic == 0:
        return RunState.CONVERGENT, sentence
    if chaotic:
        return RunState.CHAOTIC, sentence
    return (RunState.DIVERGENT if divergent >= 2 else RunState.RECURSIVE), sentence


def _gate(verdict: RunState | NotScored, deterministic: bool) -> Gate:
    """PASS where convergent; with a deterministic sampler REVIEW at most, since seeds were not tried."""
    if isinstance(verdict, NotScored):
        return Gate.NOT_MEASURED
    if verdict is RunState.CONVERGENT:
        return Gate.REVIEW if deterministic else Gate.PASS
    return Gate.REVIEW if verdict is RunState.RECURSIVE else Gate.FAIL


def _degenerate(deterministic: bool, runs: int) -> list[str]:
    if not deterministic or not runs:
        return []
    return ["Seeds degenerate: the sampler is deterministic, so the seeds of a form are one run. "
            "Raise the temperature above 0 (and top_k above 1) to test seeds."]  # fmt: skip


# --- successive turns -----------------------------------------------------------------------------------

_FALL, _JUMP, _STILL, _RESONANCE_SLACK, _SAFE = -0.02, 0.04, 0.02, 0.005, 0.40


def lambda_step(
    distance: Measure,
    distance_before: Measure | None,
    resonance: Measure,
    resonance_before: Measure | None,
    *,
    anchor_conflict: bool = False,
) -> RunState | None:
    """Direction of a turn against the one before; None for the first turn or where a value is missing.

    First match wins: an anchor conflict or a rise of ΔS above 0.04 is ×; a fall of 0.02 or more while
    E_resonance rises by at most 0.005 is →; both within 0.02 is → in the safe zone (ΔS < 0.40), else <>;
    all else is ←.
    """
    if distance_before is None or isinstance(distance_before, NotScored) or isinstance(distance, NotScored):
        return None
    change = distance - distance_before
    if anchor_conflict or change > _JUMP:
        return RunState.CHAOTIC
    if (
        resonance_before is None
        or isinstance(resonance, NotScored)
        or isinstance(resonance_before, NotScored)
    ):
        return None
    rise = resonance - resonance_before
    if change <= _FALL and rise <= _RESONANCE_SLACK:
        return RunState.CONVERGENT
    if abs(change) < _STILL and abs(rise) < _STILL:
        return RunState.CONVERGENT if distance < _SAFE else RunState.RECURSIVE
    return RunState.DIVERGENT
