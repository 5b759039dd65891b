"""A doctor's findings: what was seen, what to repair first, and what was not measured and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from exllama_guard.core.measures import Gate
from exllama_guard.core.ports import Embedder
from exllama_guard.core.turns import TurnReport
from exllama_guard.probes.doctor.detectors.chat import observe_chat
from exllama_guard.probes.doctor.detectors.model import context_drift, long_run
from exllama_guard.probes.doctor.detectors.text import observe_turn, topic
from exllama_guard.probes.doctor.symptoms import CATALOGUE, Observation, fired, unobserved
from exllama_guard.probes.measures.limits import RetrievalLimits
from exllama_guard.probes.measures.repetition import topic_loss
from exllama_guard.probes.measures.resonance import answer_side, resonance_trend, rolling_mean
from exllama_guard.probes.measures.stability import RunState, lambda_step

__all__ = ["IN_THE_HOST", "NO_SUCH_TURN", "Checkup", "checkup_of", "observe_turns", "steps_of"]

# Where a symptom is measured that a check did not look at; the rest needs recorded turns.
_ELSEWHERE = {
    "EX1": "measured by the warm-up when a model is loaded, and by `warmup`",
    "EX2": "needs two modes: `compare`",
    "EX3": "needs a long run: `drift`, or recorded turns (--traces)",
    "EX4": "measured when tools are called in the WebUI",
    "EX5": "needs the loaded model's devices and a stored baseline, in the WebUI",
    "V3": "needs two modes: `compare`",
    "V5": "needs a reference (--reference)",
    "T1": "needs the same question with extensions on and off: `replay`",
    "T2": "needs the same question with extensions on and off: `replay`",
    "T3": "needs several users at once, in the WebUI",
    "T5": "measured by the warm-up in the WebUI",
    "SR1": "needs a loader that holds a model, in the WebUI",
}
# The same inside the host, where the loaded model and the chats are at hand.
IN_THE_HOST = {
    **_ELSEWHERE,
    "EX3": "needs a long run: press “Measure drift” in the Model tab, or chat for 10 turns",
    "EX4": "no tool was called yet",
    "V5": "no reference was named",
}
NO_SUCH_TURN = "no turn of this kind was seen since the start"
_ENOUGH = 300  # characters of evidence of a symptom that was not seen
_NEEDS_TURNS = "needs recorded turns (--traces FOLDER)"


@dataclass(frozen=True, slots=True)
class Checkup:
    """All observations: first what was seen, upstream first, then clean, then not measured."""

    observations: tuple[Observation, ...]
    looked: tuple[Observation, ...] = ()  # every single look at the model, also several of one symptom

    @property
    def unread(self) -> tuple[Observation, ...]:
        """Looks at the model that were promised and not made, or made on less than they need."""
        return tuple(one for one in self.looked if one.verdict is Gate.NOT_MEASURED and one.cost.by)

    @property
    def found(self) -> tuple[Observation, ...]:
        """What was seen; the first one is what to repair first."""
        return fired(self.observations)

    @property
    def not_measured(self) -> tuple[Observation, ...]:
        """What could not be looked at, each with its reason."""
        return tuple(one for one in self.observations if one.verdict is Gate.NOT_MEASURED)

    @property
    def clean(self) -> tuple[Observation, ...]:
        """What was looked at and not seen."""
        return tuple(one for one in self.observations if one.verdict is Gate.PASS)

    def as_json(self) -> dict[str, Any]:
        """The whole checkup as plain values."""
        return {
            "found": [_plain(one) for one in self.found],
            "clean": [_plain(one) for one in self.clean],
            "not_measured": [{"id": one.symptom.id, "why": one.evidence} for one in self.not_measured],
            "repair_first": self.found[0].pages[0].url if self.found else None,
            "checks": [_check(one) for one in self.looked],
        }


def _check(one: Observation) -> dict[str, Any]:
    unread = one.verdict is Gate.NOT_MEASURED
    return {
        "id": one.symptom.id,
        "by": one.cost.by,
        "state": "shortened" if one.cost.shortened else "not read" if unread else "read",
        "verdict": one.verdict.value,
        "why": one.cost.shortened or (one.evidence if unread else ""),
        "tokens": one.cost.tokens,
        "seconds": round(one.cost.seconds, 2),
    }


def _plain(one: Observation) -> dict[str, Any]:
    return {
        "id": one.symptom.id,
        "title": one.symptom.title,
        "rule": one.symptom.rule,
        "verdict": one.verdict.value,
        "evidence": one.evidence,
        "inputs": dict(one.inputs),
        "by": one.cost.by,
        "pages": [{"id": page.id, "title": page.title, "url": page.url} for page in one.pages],
    }


_WORST = {Gate.FAIL: 0, Gate.REVIEW: 1, Gate.PASS: 2, Gate.NOT_MEASURED: 3}


def checkup_of(
    observations: Iterable[Observation],
    *,
    elsewhere: Mapping[str, str] = _ELSEWHERE,
    otherwise: str = _NEEDS_TURNS,
) -> Checkup:
    """One observation a symptom, the worst of several; what nobody looked at says where it is measured."""
    observations = tuple(observations)
    worst: dict[str, Observation] = {}
    for one in observations:
        known = worst.get(one.symptom.id)
        if known is None or _WORST[one.verdict] < _WORST[known.verdict]:
            worst[one.symptom.id] = one
        elif one.verdict is known.verdict is Gate.PASS and one.evidence not in known.evidence:
            inputs = {**known.inputs, **one.inputs}
            sentence = f"{known.evidence} {one.evidence}" if len(known.evidence) < _ENOUGH else known.evidence
            worst[one.symptom.id] = replace(known, evidence=sentence, inputs=inputs)
    for id_ in CATALOGUE:
        worst.setdefault(id_, unobserved(id_, elsewhere.get(id_, otherwise)))
    seen = fired(worst.values())
    rest = [one for one in worst.values() if one not in seen]
    rest.sort(key=lambda one: _WORST[one.verdict])
    return Checkup((*seen, *rest), tuple(one for one in observations if one.cost.by))


def steps_of(turns: Sequence[TurnReport], window: int = 5) -> tuple[RunState | None, ...]:
    """`lambda_step` of each turn against the one before, oldest first; None where it cannot be told."""
    distances = [answer_side(turn) for turn in turns]
    rolling = rolling_mean(distances, window)
    out: list[RunState | None] = []
    for place, distance in enumerate(distances):
        before = distances[place - 1] if place else None
        out.append(lambda_step(distance, before, rolling[place], rolling[place - 1] if place else None))
    return tuple(out)


def observe_turns(
    turns: list[TurnReport],
    *,
    limits: RetrievalLimits = RetrievalLimits(),  # noqa: B008 - a frozen value
    window: int = 5,
    finite: bool | None = None,
    warm_is_cold: bool | None = None,
    embedder: Embedder | None = None,
) -> tuple[Observation, ...]:
    """What recorded turns of one chat show, oldest first.

    Args:
        turns: Finished turns.
        limits: What counts as near, far and covered.
        window: Turns of E_resonance's rolling mean.
        finite: Whether the last logits were numbers, where it was seen.
        warm_is_cold: Whether a warm cache gave the cold canary, where it was measured.
        embedder: For topic loss within an answer; None leaves it out.

    Raises:
        EmbedderError: The embedder is missing or failed.
    """
    distances = [answer_side(turn) for turn in turns]
    found = [one for turn in turns for one in observe_turn(turn, limits)]
    found += observe_chat(turns, distances, steps_of(turns, window))
    found.append(context_drift(distances))
    found.append(long_run(finite, warm_is_cold, distances, resonance_trend(distances, window)))
    if embedder is not None:
        for turn in turns:
            sentences = [claim.text for claim in turn.support.claims]
            found.append(topic(topic_loss(turn.request.question, sentences, embedder)))
    return tuple(found)
