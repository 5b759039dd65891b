"""What was done with an answer because of its verdict, as plain rows; no markup, no gradio."""

from __future__ import annotations

from dataclasses import dataclass

from exllama_guard.core.measures import NotScored
from exllama_guard.core.turns import Acted, Action
from exllama_guard.panel.turn.rows import Badge, badge, number

__all__ = ["ActedRow", "TryRow", "acted_row"]

_DONE = {
    Action.SHOW: Badge("Shown as it was", "none"),
    Action.ANNOTATE: Badge("A line was added", "review"),
    Action.REPAIR: Badge("Answered again", "pass"),
    Action.REFUSE: Badge("Replaced", "fail"),
}


@dataclass(frozen=True, slots=True)
class TryRow:
    """One try at the answer; `kept` is the one that the reader got."""

    name: str
    badge: Badge
    numbers: tuple[tuple[str, str], ...]
    kept: bool
    problem: str
    text: str


@dataclass(frozen=True, slots=True)
class ActedRow:
    """What was done and why. `shown` stood in the answer's place (`refused`) or under it."""

    badge: Badge
    why: str
    shown: str
    refused: bool
    tries: tuple[TryRow, ...]


def acted_row(acted: Acted | None) -> ActedRow | None:
    """The row of what was done, or None where nothing was to be done."""
    if acted is None:
        return None
    tries = acted.tries if len(acted.tries) > 1 else ()
    return ActedRow(
        badge=_DONE[acted.done],
        why=acted.why,
        shown=acted.shown,
        refused=acted.done is Action.REFUSE,
        tries=tuple(
            TryRow(
                name=_name(place, len(tries)),
                badge=Badge("No result", "none") if one.problem and not one.answer else badge(one.gate),
                numbers=_numbers(one.support, one.relevance, one.took_s),
                kept=one.kept,
                problem=one.problem,
                text=one.answer,
            )
            for place, one in enumerate(tries)
        ),
    )


def _name(place: int, tries: int) -> str:
    if place == 0:
        return "First answer"
    return "New try" if tries == 2 else f"New try {place}"


def _numbers(
    support: float | NotScored, relevance: float | NotScored, took_s: float
) -> tuple[tuple[str, str], ...]:
    rows = [("support", number(support)), ("relevance", number(relevance))]
    rows += [("took", f"{took_s:.1f} s")] if took_s else []
    return tuple((name, value) for name, value in rows if not value.startswith("not measured"))
