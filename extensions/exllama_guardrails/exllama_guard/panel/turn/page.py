"""One turn's places and lists: head, marked answer, evidence, numbers, snippets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from exllama_guard.core.html import Html, el, join
from exllama_guard.core.measures import Gate
from exllama_guard.core.turns import Channel, Finish, TurnReport
from exllama_guard.panel.card import place
from exllama_guard.panel.html import empty
from exllama_guard.panel.packet import Page, Part, Slot, SlotList
from exllama_guard.panel.turn import markup as turn_markup
from exllama_guard.panel.turn import markup_acted, markup_second
from exllama_guard.panel.turn.evidence import evidence_row
from exllama_guard.panel.turn.hints import hint
from exllama_guard.panel.turn.rows import facts, measures, snippet_rows
from exllama_guard.panel.turn.rows_acted import acted_row
from exllama_guard.panel.turn.rows_second import second_row
from exllama_guard.panel.turn.segments import segments
from exllama_guard.settings import Settings

__all__ = ["turn_frame", "turn_page"]


def turn_page(
    report: TurnReport | None, prefix: str, chosen: str, settings: Settings, *, latest: bool
) -> Page:
    """One turn's places and lists, named from `prefix` on; `chosen` is the sentence pointed at."""
    if report is None:
        nothing = Html("")
        head = empty("No answer yet", "Ask the model something; the marked answer appears here.")
        lists = (SlotList(prefix + name, ()) for name in ("answer", "numbers", "snippets"))
        return Page(
            (
                Slot(prefix + "head", head),
                *(Slot(prefix + name, nothing) for name in ("acted", "evidence")),
                *lists,
            ),
            {"claim": "", "shown": False},
        )
    claim = _claim(report, chosen.removeprefix(prefix) if chosen.startswith(prefix) else "")
    row = evidence_row(report, claim) if claim is not None else None
    settled = bool(report.answer) and report.finish is not Finish.STREAMING
    done, read = acted_row(report.acted), second_row(report.second_reader)
    answer = tuple((piece.key, turn_markup.segment(piece, prefix)) for piece in segments(report))
    diagnosed = report.request.turn_id if settled and report.request.channel is not Channel.PASTED else ""
    notes = (*report.notes, *filter(None, (hint(report),)))
    heading = turn_markup.heading(report.request.question, facts(report), latest, notes, diagnosed)
    beside = (
        turn_markup.evidence(row)
        if row
        else turn_markup.evidence_empty(settled, bool(report.request.snippets))
    )
    return Page(
        (
            Slot(prefix + "head", heading),
            Slot(prefix + "acted", join(markup_acted.acted(done), markup_second.second(read))),
            *_numbers(report, settings, prefix),
            *_snippets(report, prefix),
        ),
        {
            "claim": "" if claim is None else f"{prefix}{claim}",
            "shown": True,
            "refused": done is not None and done.refused,
        },
        (SlotList(prefix + "answer", answer), Slot(prefix + "evidence", beside)),
    )


def _numbers(report: TurnReport, settings: Settings, prefix: str) -> Iterator[Part]:
    """The rows of the numbers, and in each the place of its value, which alone changes while it streams."""
    rows = measures(report, settings)
    names = [f"{prefix}m.{row.key}" for row in rows]
    items = zip(rows, names, strict=True)
    yield SlotList(
        prefix + "numbers", tuple((row.key, turn_markup.measure(row, name)) for row, name in items)
    )
    for row, name in zip(rows, names, strict=True):
        yield Slot(name, turn_markup.measure_value(row), f"{prefix}numbers/{row.key}")


def _snippets(report: TurnReport, prefix: str) -> Iterator[Part]:
    """The snippets, and in each the place of its distances."""
    rows = snippet_rows(report)
    still = (replace(row, to_question="", to_answer="") for row in rows)
    items = ((str(i), turn_markup.snippet(row, f"{prefix}s.{i}")) for i, row in enumerate(still))
    yield SlotList(prefix + "snippets", tuple(items))
    for i, row in enumerate(rows):
        distances = turn_markup.snippet_distances(row.to_question, row.to_answer)
        yield Slot(f"{prefix}s.{i}", distances, f"{prefix}snippets/{i}")


def _claim(report: TurnReport, chosen: str) -> int | None:
    """The sentence pointed at, else the one that decides, else the first that was checked."""
    if chosen.isdigit() and int(chosen) < len(report.support.claims):
        return int(chosen)
    worst = report.support.worst
    if worst is not None:
        return report.support.claims.index(worst)
    checked = (i for i, claim in enumerate(report.support.claims) if claim.gate is not Gate.NOT_MEASURED)
    return next(checked, None)


def turn_frame(prefix: str) -> Html:
    """The places of one turn, which `turn_page` fills; their names begin with `prefix`."""
    return join(
        place(prefix + "head", "eg-head"),
        place(prefix + "acted"),
        el(
            "div",
            el(
                "div",
                el("div", data_list=prefix + "answer", cls="eg-answer", aria_label="Answer", role="group"),
                turn_markup.legend(),
                cls="eg-main",
            ),
            el("aside", data_slot=prefix + "evidence", cls="eg-evidence", aria_label="Evidence"),
            cls="eg-split",
        ),
        el("div", el("h4", "Numbers"), el("div", data_list=prefix + "numbers"), cls="eg-block"),
        el("div", el("h4", "Snippets"), el("div", data_list=prefix + "snippets"), cls="eg-block"),
    )
