"""A chat over many turns: ΔS, E_resonance and its slope, λ steps, repetition and topic loss, by turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from exllama_guard.core.measures import Measure, NotScored, Reason
from exllama_guard.core.ports import Embedder
from exllama_guard.core.turns import ClaimKind, TurnReport
from exllama_guard.probes.doctor.checkup import steps_of
from exllama_guard.probes.measures.repetition import Repetition, repetition_of, topic_loss
from exllama_guard.probes.measures.resonance import Trend, answer_side, resonance_trend, rolling_mean
from exllama_guard.probes.measures.stability import RunState

__all__ = ["LongRun", "TurnSigns", "long_run_of", "topic_loss_of"]


@dataclass(frozen=True, slots=True)
class TurnSigns:
    """One turn of a long run. `step` is None where it or the turn before was not measured."""

    turn_id: str
    question: str
    distance: Measure  # answer-side ΔS, [0, 2]
    resonance: Measure  # rolling mean of it
    step: RunState | None
    repetition: Repetition | NotScored
    topic_loss: Measure  # rise of ΔS(sentence, question) within the answer; above 0.10 the topic is lost


@dataclass(frozen=True, slots=True)
class LongRun:
    """The turns of one chat, oldest first, and the Theil–Sen slope of E_resonance over them."""

    chat_id: str | None
    turns: tuple[TurnSigns, ...]
    trend: Trend | NotScored


def long_run_of(
    turns: Sequence[TurnReport], window: int, topic_of: Callable[[TurnReport], Measure]
) -> LongRun:
    """The long run of one chat's turns, oldest first; `topic_of` gives a turn's topic loss."""
    distances = [answer_side(turn) for turn in turns]
    rolling, steps = rolling_mean(distances, window), steps_of(turns, window)
    signs = tuple(
        TurnSigns(
            turn.request.turn_id,
            turn.request.question,
            distance,
            resonance,
            step,
            repetition_of(turn.answer),
            topic_of(turn),
        )
        for turn, distance, resonance, step in zip(turns, distances, rolling, steps, strict=True)
    )
    chat_id = turns[-1].request.chat_id if turns else None
    return LongRun(chat_id, signs, resonance_trend(distances, window))


def topic_loss_of(turn: TurnReport, embedder: Embedder) -> Measure:
    """Topic loss within a turn's answer, or why there is none.

    Raises:
        EmbedderError: The embedder is missing or failed.
    """
    if not turn.request.question.strip():
        return NotScored(Reason.NO_QUESTION)
    sentences = [claim.text for claim in turn.support.claims if claim.kind is not ClaimKind.CODE]
    return topic_loss(turn.request.question, sentences, embedder)
