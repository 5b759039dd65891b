"""One turn's places and lists: head, marked answer, evidence, numbers, snippets."""

from __future__ import annotations

from dataclasses import replace

from exllama_guard.core.records import Finish, Gate, TurnReport
from exllama_guard.panel import markup_turn
from exllama_guard.panel.evidence import evidence_row
from exllama_guard.panel.markup import Html, empty
from exllama_guard.panel.packet import Page, Slot, SlotList
from exllama_guard.panel.rows import facts, measures, snippet_rows
from exllama_guard.panel.segments import segments
from exllama_guard.settings import Settings

__all__ = ["turn_page"]


def turn_page(
    report: TurnReport | None, prefix: str, chosen: str, settings: Settings, *, latest: bool
) -> Page:
    """One turn's places and lists, named from `prefix` on; `chosen` is the sentence pointed at."""
    if report is None:
        nothing = Html("")
        head = empty("No answer yet", "Ask the model something; the marked answer appears here.")
        return Page(
            (Slot(prefix + "head", head), Slot(prefix + "evidence", nothing)),
            tuple(SlotList(prefix + name, ()) for name in ("answer", "numbers", "snippets")),
            {"claim": "", "shown": False},
        )
    claim = _claim(report, chosen.removeprefix(prefix) if chosen.startswith(prefix) else "")
    row = evidence_row(report, claim) if claim is not None else None
    numbers = measures(report, settings)
    snippets = snippet_rows(report)
    slots = [
        Slot(
            prefix + "head", markup_turn.heading(report.request.question, facts(report), latest, report.notes)
        ),
        Slot(
            prefix + "evidence",
            markup_turn.evidence(row)
            if row
            else markup_turn.evidence_empty(bool(report.answer) and report.finish is not Finish.STREAMING),
        ),
    ]
    for number in numbers:
        place = f"{prefix}numbers/{number.key}"
        slots.append(Slot(f"{prefix}m.{number.key}", markup_turn.measure_value(number), place))
    for index, snippet in enumerate(snippets):
        place = f"{prefix}snippets/{index}"
        slots.append(
            Slot(
                f"{prefix}s.{index}",
                markup_turn.snippet_distances(snippet.to_question, snippet.to_answer),
                place,
            )
        )
    lists = (
        SlotList(
            prefix + "answer",
            tuple((piece.key, markup_turn.segment(piece, prefix)) for piece in segments(report)),
        ),
        SlotList(
            prefix + "numbers",
            tuple((number.key, markup_turn.measure(number, f"{prefix}m.{number.key}")) for number in numbers),
        ),
        SlotList(
            prefix + "snippets",
            tuple(
                (
                    str(index),
                    markup_turn.snippet(replace(snippet, to_question="", to_answer=""), f"{prefix}s.{index}"),
                )
                for index, snippet in enumerate(snippets)
            ),
        ),
    )
    return Page(tuple(slots), lists, {"claim": "" if claim is None else f"{prefix}{claim}", "shown": True})


def _claim(report: TurnReport, chosen: str) -> int | None:
    """The sentence pointed at, else the one that decides, else the first that was checked."""
    if chosen.isdigit() and int(chosen) < len(report.support.claims):
        return int(chosen)
    worst = report.support.worst
    if worst is not None:
        return report.support.claims.index(worst)
    checked = (i for i, claim in enumerate(report.support.claims) if claim.gate is not Gate.NOT_MEASURED)
    return next(checked, None)
