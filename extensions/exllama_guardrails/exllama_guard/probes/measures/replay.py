"""Recorded turns beside the same questions recorded again: prompt, citations, ΔS and verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from exllama_guard.core.measures import Gate, Measure, NotScored
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved
from exllama_guard.probes.measures.equivalence import Interval, mean_interval
from exllama_guard.probes.measures.resonance import answer_side_of
from exllama_guard.trace import TraceRecord

__all__ = ["Replay", "TurnChange", "replay_of"]


@dataclass(frozen=True, slots=True)
class TurnChange:
    """One question in both recordings."""

    question: str
    prompt_changed: bool | None  # None: a recording holds no prompt hash
    cited_before: frozenset[str]
    cited_after: frozenset[str]
    snippets_changed: bool
    distance_change: Measure  # answer-side ΔS, after - before
    verdict_before: Gate
    verdict_after: Gate

    @property
    def flipped(self) -> bool:
        """Other citations or another verdict: what toggling an extension must not do."""
        return self.cited_before != self.cited_after or self.verdict_before is not self.verdict_after


@dataclass(frozen=True, slots=True)
class Replay:
    """All questions that both recordings hold, and the symptoms that follow."""

    label: str
    turns: tuple[TurnChange, ...]
    only_before: int
    only_after: int
    drift: Interval | NotScored
    observations: tuple[Observation, ...]

    @property
    def flips(self) -> int:
        """Number of questions with other citations or another verdict."""
        return sum(turn.flipped for turn in self.turns)


def replay_of(before: Iterable[TraceRecord], after: Iterable[TraceRecord], label: str) -> Replay:
    """The comparison; of a question that was recorded several times the last one counts."""
    first = {record.question_hash: record for record in before}
    second = {record.question_hash: record for record in after}
    turns = tuple(_change(record, second[key]) for key, record in first.items() if key in second)
    changes = [t.distance_change for t in turns if not isinstance(t.distance_change, NotScored)]
    return Replay(
        label=label,
        turns=turns,
        only_before=len(first.keys() - second.keys()),
        only_after=len(second.keys() - first.keys()),
        drift=mean_interval(changes, 0.95),
        observations=_observations(turns, label),
    )


def _change(before: TraceRecord, after: TraceRecord) -> TurnChange:
    a, b = answer_side_of(before.distances), answer_side_of(after.distances)
    hashes = (before.prompt_hash, after.prompt_hash)
    return TurnChange(
        question=before.question or after.question or before.question_hash,
        prompt_changed=None if None in hashes else hashes[0] != hashes[1],
        cited_before=frozenset(before.cited_ids),
        cited_after=frozenset(after.cited_ids),
        snippets_changed={s.text_hash for s in before.snippets} != {s.text_hash for s in after.snippets},
        distance_change=a if isinstance(a, NotScored) else b if isinstance(b, NotScored) else b - a,
        verdict_before=before.verdict.gate,
        verdict_after=after.verdict.gate,
    )


def _observations(turns: Sequence[TurnChange], label: str) -> tuple[Observation, ...]:
    known = [turn for turn in turns if turn.prompt_changed is not None]
    if not known:
        first = unobserved("T1", "no question is in both recordings with its prompt's hash")
    else:
        changed = sum(turn.prompt_changed is True for turn in known)
        sentence = f"With {label} the prompt differs for {changed} of {len(known)} questions."
        first = observed("T1", Gate.REVIEW if changed else Gate.PASS, sentence, changed=float(changed))
    if not turns:
        return first, unobserved("T2", "no question is in both recordings")
    lost = sum(bool(turn.cited_before - turn.cited_after) for turn in turns)
    flips = sum(turn.flipped for turn in turns)
    sentence = f"With {label} citations are lost for {lost} of {len(turns)} questions; {flips} answers flip."
    gate = Gate.FAIL if lost else Gate.REVIEW if flips else Gate.PASS
    return first, observed("T2", gate, sentence, lost=float(lost), flips=float(flips))
