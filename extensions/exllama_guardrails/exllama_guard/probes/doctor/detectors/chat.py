"""Detectors of a chat and of what stands beside it: values in, an observation out (docs/doctor.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from exllama_guard.core.measures import Gate, Measure, NotScored
from exllama_guard.core.snippets import words
from exllama_guard.core.turns import TurnReport
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved
from exllama_guard.probes.measures.limits import RetrievalLimits
from exllama_guard.probes.measures.resonance import answer_side
from exllama_guard.probes.measures.stability import RunState

__all__ = ["observe_chat", "several_users", "users_at_once"]


def observe_chat(
    turns: Sequence[TurnReport], distances: Sequence[Measure], steps: Sequence[RunState | None]
) -> tuple[Observation, ...]:
    """What successive turns of one chat show, oldest first; `distances` are answer-side."""
    return (
        _chain(steps),
        _snap(distances),
        _retries(turns),
        _returned(turns),
        _full(turns),
        _same_snippet(turns),
    )


def _chain(steps: Sequence[RunState | None]) -> Observation:
    known = [step for step in steps if step is not None]
    if not known:
        return unobserved("V4", "no two turns in a row were measured")
    first = next((i for i, step in enumerate(steps) if step is RunState.CHAOTIC), None)
    shown = " ".join(step.value for step in known)
    sentence = f"Steps: {shown}." + ("" if first is None else f" The first × is at turn {first + 1}.")
    return observed(
        "V4",
        Gate.PASS if first is None else Gate.REVIEW,
        sentence,
        first=None if first is None else first + 1.0,
    )


def _snap(distances: Sequence[Measure]) -> Observation:
    jumps = [
        (b - a, place + 2)
        for place, (a, b) in enumerate(pairwise(distances))
        if not isinstance(a, NotScored) and not isinstance(b, NotScored)
    ]
    if not jumps:
        return unobserved("LC2", "no two turns in a row were measured")
    most, turn = max(jumps)
    sentence = f"The greatest rise of ΔS in one step is {most:+.2f}, at turn {turn}."
    return observed("LC2", Gate.FAIL if most > 0.60 else Gate.PASS, sentence, rise=most)


def _retries(turns: Sequence[TurnReport]) -> Observation:
    prompts = [turn.request.prompt for turn in turns if turn.request.prompt]
    if len(prompts) < 2:
        return unobserved("LC4", "fewer than two prompts were seen")
    run = most = 1
    for a, b in pairwise(prompts):
        run = run + 1 if a == b else 1
        most = max(most, run)
    sentence = f"The longest run of one and the same prompt is {most}."
    return observed("LC4", Gate.REVIEW if most >= 3 else Gate.PASS, sentence, run=float(most))


def _returned(turns: Sequence[TurnReport]) -> Observation:
    failed = [
        (place, claim.text)
        for place, turn in enumerate(turns)
        for claim in turn.support.claims
        if claim.gate is Gate.FAIL and len(words(claim.text)) >= 4
    ]
    if not failed or len(turns) < 2:
        return unobserved("LD5", "no answer failed before")
    back = [
        text
        for place, text in failed
        if any(words(text) == words(c.text) for t in turns[place + 1 :] for c in t.support.claims)
    ]
    sentence = f"{len(back)} sentences that failed came back." + (f" First: “{back[0]}”" if back else "")
    return observed("LD5", Gate.REVIEW if back else Gate.PASS, sentence, sentences=float(len(back)))


def _full(turns: Sequence[TurnReport]) -> Observation:
    last = next((t for t in reversed(turns) if t.request.model and t.request.model.context_tokens), None)
    if last is None or last.request.model is None or not last.request.prompt:
        return unobserved("LD6", "the context's size or the prompt is not known")
    limit = last.request.model.context_tokens or 0
    # An English token has about 4 characters; only a prompt that is surely full counts.
    share = len(last.request.prompt) / 4 / limit
    sentence = f"The last prompt fills about {share:.0%} of {limit} tokens."
    return observed("LD6", Gate.REVIEW if share >= 0.95 else Gate.PASS, sentence, share=share)


def _same_snippet(turns: Sequence[TurnReport]) -> Observation:
    recent = turns[-5:]
    firsts = [turn.request.snippets[0] for turn in recent if turn.request.snippets]
    asked = {tuple(words(turn.request.question)) for turn in recent}
    if len(firsts) < 5 or len(asked) < 5:
        return unobserved("CH2", "fewer than 5 different questions with snippets")
    most, count = Counter((s.source_url, s.text) for s in firsts).most_common(1)[0]
    sentence = f"One snippet came first for {count} of 5 questions ({most[0]})."
    return observed("CH2", Gate.REVIEW if count > 2 else Gate.PASS, sentence, count=float(count))


def several_users(alone: Measure, together: Measure, limits: RetrievalLimits) -> Observation:
    """T3: the same question for one user and for several at once."""
    if isinstance(alone, NotScored):
        return unobserved("T3", alone)
    if isinstance(together, NotScored):
        return unobserved("T3", together)
    seen = together > limits.distance_fail and together - alone > 0.10
    sentence = f"ΔS {alone:.2f} alone, {together:.2f} with several users."
    return observed("T3", Gate.FAIL if seen else Gate.PASS, sentence, alone=alone, together=together)


def users_at_once(turns: Sequence[TurnReport], limits: RetrievalLimits) -> Observation:
    """T3 from use: questions that were answered both alone and while another reply ran."""
    asked: dict[tuple[str, ...], tuple[list[float], list[float]]] = {}
    for turn in turns:
        distance = answer_side(turn)
        if not isinstance(distance, NotScored):
            pair = asked.setdefault(tuple(words(turn.request.question)), ([], []))
            pair[turn.beside > 0].append(distance)
    pairs = [(_mean(alone), _mean(together)) for alone, together in asked.values() if alone and together]
    if not pairs:
        return unobserved("T3", "no question was answered both alone and while another reply ran")
    alone, together = max(pairs, key=lambda pair: pair[1] - pair[0])
    return several_users(alone, together, limits)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
