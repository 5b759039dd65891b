"""Modes of a model beside a reference: what each wrote, as numbers with verdicts, over the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from exllama_guard.core.measures import Gate, Measure, NotScored, Reason
from exllama_guard.probes.doctor.detectors.model import json_of_modes, quantised_spike
from exllama_guard.probes.doctor.symptoms import Observation, unobserved
from exllama_guard.probes.measures.equivalence import Drift, Equivalence, drift_against, equivalence
from exllama_guard.probes.measures.logit_drift import LogitDrift, LogitGates, logit_gates
from exllama_guard.probes.measures.stability import LambdaReport

__all__ = ["ItemRun", "ModeRun", "ModeVerdict", "compare_modes", "observe_modes"]

ACCURACY_LOSS = 0.05  # the ExLlamaV2 page of the seed study


@dataclass(frozen=True, slots=True)
class ItemRun:
    """One item in one mode: the greedy answer and what was measured of it."""

    item_id: str
    answer: str
    distance: Measure  # answer-side ΔS, [0, 2]
    elapsed_s: float
    tokens: int
    right: bool | None = None  # holds the gold answer; None: there is none
    flipped: bool | None = None  # means something else than the reference's answer


@dataclass(frozen=True, slots=True)
class ModeRun:
    """A mode that was run, or the sentence that says why it could not be."""

    label: str
    kind: str  # weights or kv_cache
    bits: float | None
    items: tuple[ItemRun, ...] = ()
    drift: LogitDrift | NotScored = NotScored(Reason.NOT_SUPPORTED)  # noqa: RUF009 - a frozen value
    floor: LogitDrift | NotScored = NotScored(Reason.NOT_SUPPORTED)  # noqa: RUF009 - a frozen value
    json_valid: tuple[int, int] | NotScored = NotScored(Reason.NOT_SUPPORTED)  # noqa: RUF009
    probes: Mapping[str, LambdaReport] = field(default_factory=dict)  # by item id
    tokenizer_hash: str | NotScored = NotScored(Reason.NOT_SUPPORTED)  # noqa: RUF009
    ids_hash: str = ""  # of the ids that it gives the forced texts; "" without such texts
    token_s: tuple[float, ...] | NotScored = NotScored(Reason.NOT_ENOUGH_DATA, "not timed")  # noqa: RUF009
    speed_note: str = ""  # what there is to know about the time it takes
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ModeVerdict:
    """One mode against the reference."""

    label: str
    resonance: Equivalence
    drift: Drift
    logits: LogitGates | NotScored
    flip_rate: Measure
    speed: Measure  # median seconds a token, of the mode over the reference; below 1 is faster
    accuracy: Measure
    accuracy_change: Measure  # mode - reference
    json_rate: Measure
    convergent: Measure  # share of probed items whose λ converges
    gate: Gate
    reasons: tuple[str, ...]


def compare_modes(reference: ModeRun, modes: Sequence[ModeRun]) -> tuple[ModeVerdict, ...]:
    """The verdict of each mode, in order; a mode that failed to load is not measured, the others are."""
    return tuple(_verdict(reference, mode) for mode in modes)


def _verdict(reference: ModeRun, mode: ModeRun) -> ModeVerdict:
    pairs = _paired(reference, mode)
    before = [first.distance for first, _ in pairs]
    after = [second.distance for _, second in pairs]
    flat, drift = equivalence(before, after), drift_against(before, after)
    logits: LogitGates | NotScored = (
        logit_gates(mode.drift, mode.floor)
        if isinstance(mode.drift, LogitDrift) and isinstance(mode.floor, LogitDrift)
        else mode.drift if isinstance(mode.drift, NotScored) else NotScored(Reason.NOT_SUPPORTED, "no floor")
    )  # fmt: skip
    accuracy, accuracy_before = accuracy_of(mode), accuracy_of(reference)
    change = (
        accuracy - accuracy_before
        if not isinstance(accuracy, NotScored) and not isinstance(accuracy_before, NotScored)
        else NotScored(Reason.NO_ANCHOR, "no gold answers")
    )
    reasons = [mode.problem] if mode.problem else [f"E_resonance {flat.sentence}", drift.sentence]
    if not isinstance(logits, NotScored):
        reasons.append(logits.sentence)
    return ModeVerdict(
        label=mode.label,
        resonance=flat,
        drift=drift,
        logits=logits,
        flip_rate=_share([second.flipped for _, second in pairs]),
        speed=_speed(reference.token_s, mode.token_s),
        accuracy=accuracy,
        accuracy_change=change,
        json_rate=json_rate(mode),
        convergent=convergent_share(mode),
        gate=_gate(flat, drift, change),
        reasons=tuple(reasons),
    )


def observe_modes(reference: ModeRun, mode: ModeRun) -> tuple[Observation, ...]:
    """EX2 and V3 of a mode against the reference; equal ids are what makes two tokenizers one."""
    if mode.problem:
        return unobserved("EX2", mode.problem), unobserved("V3", mode.problem)
    pairs = _paired(reference, mode)
    tokenizers = (
        (reference.ids_hash, mode.ids_hash)
        if reference.ids_hash and mode.ids_hash
        else (reference.tokenizer_hash, mode.tokenizer_hash)
    )
    spike = quantised_spike(
        [first.distance for first, _ in pairs], [second.distance for _, second in pairs], tokenizers
    )
    if isinstance(reference.json_valid, NotScored) or isinstance(mode.json_valid, NotScored):
        return spike, unobserved("V3", "no JSON was asked for")
    return spike, json_of_modes(reference.json_valid, mode.json_valid)


def _paired(reference: ModeRun, mode: ModeRun) -> list[tuple[ItemRun, ItemRun]]:
    of_mode = {run.item_id: run for run in mode.items}
    return [(run, of_mode[run.item_id]) for run in reference.items if run.item_id in of_mode]


def _gate(flat: Equivalence, drift: Drift, change: Measure) -> Gate:
    """The worst of flatness, drift and accuracy loss; undecided flatness is NOT_MEASURED, never a pass."""
    gates = [flat.gate, drift.gate]
    if not isinstance(change, NotScored):
        gates.append(Gate.PASS if change >= -ACCURACY_LOSS else Gate.REVIEW)
    for gate in (Gate.FAIL, Gate.NOT_MEASURED, Gate.REVIEW):
        if gate in gates:
            return gate
    return Gate.PASS


def accuracy_of(mode: ModeRun) -> Measure:
    """Share of items with a gold answer whose answer holds it, [0, 1]."""
    return _share([run.right for run in mode.items])


def _share(values: Sequence[bool | None]) -> Measure:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else NotScored(Reason.NOT_ENOUGH_DATA)


def _speed(before: tuple[float, ...] | NotScored, after: tuple[float, ...] | NotScored) -> Measure:
    """Median seconds a token of the mode over that of the reference."""
    if isinstance(before, NotScored):
        return before
    if isinstance(after, NotScored):
        return after
    return median(after) / median(before) if median(before) > 0 else NotScored(Reason.NOT_ENOUGH_DATA)


def json_rate(mode: ModeRun) -> Measure:
    """Share of JSON requests answered by one valid object, [0, 1]."""
    if isinstance(mode.json_valid, NotScored):
        return mode.json_valid
    valid, asked = mode.json_valid
    return valid / asked if asked else NotScored(Reason.NOT_ENOUGH_DATA)


def convergent_share(mode: ModeRun) -> Measure:
    """Share of the probed items whose λ converges, [0, 1]; unfinished probes are left out."""
    judged = [report for report in mode.probes.values() if not isinstance(report.verdict, NotScored)]
    if not judged:
        return NotScored(Reason.NOT_ENOUGH_DATA, "λ was not probed")
    return sum(report.verdict.value == "→" for report in judged) / len(judged)  # type: ignore[union-attr]
