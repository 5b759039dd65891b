"""A chat over many turns as plain rows: its slope in a sentence, its signs by turn; no markup, no gradio."""

from __future__ import annotations

from dataclasses import dataclass

from exllama_guard.core.measures import Gate, Measure, NotScored
from exllama_guard.panel.turn.rows import Badge, badge, number, why_not
from exllama_guard.probes.measures import TOPIC_LOSS, LongRun, Repetition, RunState, Trend, TurnSigns

__all__ = ["Cell", "LongRows", "TurnRow", "long_rows"]

_STEP_WORDS = {
    RunState.CONVERGENT: "→ holds",
    RunState.RECURSIVE: "<> holds, far off",
    RunState.DIVERGENT: "← unsteady",
    RunState.CHAOTIC: "×",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as text, "" where it was not measured; then `why` is the reason. `sign` is a fault's name."""

    text: str
    why: str = ""
    sign: str = ""


@dataclass(frozen=True, slots=True)
class TurnRow:
    """One turn; `place` counts from 1 over the chat."""

    place: int
    turn_id: str
    question: str
    distance: Cell
    resonance: Cell
    step: Cell
    repetition: Cell
    topic: Cell


@dataclass(frozen=True, slots=True)
class LongRows:
    """The newest turn first; empty where there is no turn yet."""

    badge: Badge
    trend: str
    meaning: str
    rows: tuple[TurnRow, ...]


def long_rows(run: LongRun) -> LongRows:
    """The long chat's card."""
    rows = tuple(_row(place, signs) for place, signs in enumerate(run.turns, start=1))
    if isinstance(run.trend, NotScored):
        shown_words = f"Slope of E_resonance not measured: {run.trend.detail or why_not(run.trend)}."
        return LongRows(badge(Gate.NOT_MEASURED), shown_words, "Each turn stands below as it is.", rows[::-1])
    return LongRows(badge(run.trend.gate), run.trend.sentence(), _meaning(run.trend), rows[::-1])


def _meaning(trend: Trend) -> str:
    if trend.gate is Gate.PASS:
        return "Answers stay as near to their snippets as they were."
    if trend.slope < 0:
        return "Answers come nearer to their snippets; that is no fault."
    return (
        "Answers move away from their snippets. Where the cache is sound (Model, Measure drift) it is the "
        "long chat itself: start a new one."
    )


def _row(place: int, signs: TurnSigns) -> TurnRow:
    return TurnRow(
        place,
        signs.turn_id,
        " ".join(signs.question.split()),
        _figure(signs.distance),
        _figure(signs.resonance),
        _step(signs.step),
        _repetition(signs.repetition),
        _topic(signs.topic_loss),
    )


def _figure(value: Measure) -> Cell:
    return Cell("", number(value)) if isinstance(value, NotScored) else Cell(number(value))


def _step(step: RunState | None) -> Cell:
    if step is None:
        return Cell("", "not measured: this turn or the one before has no ΔS")
    return Cell(_STEP_WORDS[step], sign="jumps away" if step is RunState.CHAOTIC else "")


def _repetition(found: Repetition | NotScored) -> Cell:
    if isinstance(found, NotScored):
        return Cell("", number(found))
    if found.loop:
        return Cell(f"“{found.loop}” {found.loop_count} times", sign="loop")
    return Cell(f"{found.repeated:.0%}")


def _topic(loss: Measure) -> Cell:
    if isinstance(loss, NotScored):
        return Cell("", number(loss))
    return Cell(f"{loss:+.2f}", sign="off topic" if loss > TOPIC_LOSS else "")
