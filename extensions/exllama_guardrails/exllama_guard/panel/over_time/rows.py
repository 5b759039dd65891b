"""ΔS, support and E_resonance by turn, with their limits and what happened between turns; pure data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exllama_guard.core.measures import Measure, NotScored
from exllama_guard.core.turns import TurnReport
from exllama_guard.monitor import Event
from exllama_guard.panel.turn.rows import Badge, badge, number
from exllama_guard.panel.words import EXPLANATIONS, NAMES
from exllama_guard.probes.measures import answer_side, rolling_mean
from exllama_guard.settings import Settings

_FIRST, _DRIFT = 5, 0.10  # context drift: the 5-turn mean exceeds the first-5 mean by 0.10 (seed study)


@dataclass(frozen=True, slots=True)
class Point:
    """One turn in one series; `value` None where it was not measured, with the reason in `text`."""

    turn_id: str
    value: float | None
    text: str
    badge: Badge


@dataclass(frozen=True, slots=True)
class Series:
    """One line of the plot: its points oldest first and its limits as (value, words)."""

    key: str
    name: str
    explanation: str
    points: tuple[Point, ...]
    limits: tuple[tuple[float, str], ...]
    top: float


@dataclass(frozen=True, slots=True)
class Mark:
    """An event before turn number `before` (0 is the first shown, the count is after the last)."""

    before: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class PlotRow:
    """All series over the same turns, and the events between them."""

    series: tuple[Series, ...]
    marks: tuple[Mark, ...]
    questions: tuple[str, ...]


def plot(turns: Sequence[TurnReport], events: Sequence[Event], settings: Settings) -> PlotRow:
    """The plot of `turns`, given newest first as a snapshot holds them."""
    ordered = tuple(reversed(turns))
    answered = [answer_side(turn) for turn in ordered]
    rolling = rolling_mean(answered, settings.resonance_window)
    limits = ((settings.distance_pass, "pass up to"), (settings.distance_fail, "fail from"))
    top = 1.0
    series = (
        _series("question_context", ordered, [turn.distances.gated for turn in ordered], limits, top),
        _series("support", ordered, [turn.support.support for turn in ordered], (), 1.0),
        _series("resonance", ordered, rolling, drift_limit(answered), top),
    )
    starts = [turn.request.started_at_s for turn in ordered]
    first = starts[0] if starts else 0.0
    marks = tuple(
        Mark(sum(1 for start in starts if start <= event.at_s), event.kind, event.text)
        for event in events
        if event.at_s >= first
    )
    return PlotRow(series, marks, tuple(" ".join(turn.request.question.split()) for turn in ordered))


def _series(
    key: str,
    turns: Sequence[TurnReport],
    values: Sequence[Measure],
    limits: tuple[tuple[float, str], ...],
    top: float,
) -> Series:
    points = tuple(
        Point(
            turn.request.turn_id,
            None if isinstance(value, NotScored) else value,
            number(value),
            badge(turn.verdict.gate),
        )
        for turn, value in zip(turns, values, strict=True)
    )
    return Series(key, NAMES[key], EXPLANATIONS[key], points, limits, top)


def drift_limit(values: Sequence[Measure]) -> tuple[tuple[float, str], ...]:
    """Mean of the first 5 scored values plus 0.10, from where E_resonance counts as drift.

    Empty before there are 5.
    """
    first = [value for value in values if not isinstance(value, NotScored)][:_FIRST]
    if len(first) < _FIRST:
        return ()
    return ((sum(first) / _FIRST + _DRIFT, "drift from"),)
