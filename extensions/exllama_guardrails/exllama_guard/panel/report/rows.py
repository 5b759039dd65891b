"""A report of a command (compare, verify, λ, doctor), read from its JSON file into rows; pure data.

The file comes from a browser and may hold anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from exllama_guard.core.measures import Gate
from exllama_guard.errors import UserError
from exllama_guard.panel.turn.rows import Badge, badge
from exllama_guard.probes import TaskState
from exllama_guard.report import Report

__all__ = ["ReportRows", "TableRows", "VerdictRow", "WorkRow", "report_rows", "rows_of", "work_row"]

_MOST_ROWS = 200  # of one table in the page; the file holds them all


@dataclass(frozen=True, slots=True)
class WorkRow:
    """Work that takes long: how far it is (`share` in [0, 1]), and why it did not run ("" where it did)."""

    running: bool
    share: float | None
    progress: str
    problem: str


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """What was tested, its outcome, and the sentence with its numbers; `page` "" without one."""

    name: str
    badge: Badge
    sentence: str
    page: str


@dataclass(frozen=True, slots=True)
class TableRows:
    """A table as it is shown; `left_out` rows are not."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class ReportRows:
    """Everything of one report that a page shows."""

    title: str
    about: str
    summary: str
    verdicts: tuple[VerdictRow, ...]
    tables: tuple[TableRows, ...]
    not_measured: tuple[tuple[str, str], ...]


def work_row(state: TaskState[Any, Any]) -> WorkRow:
    """A task's state."""
    now = state.progress if state.running else None
    share = now.done / max(1, now.total) if now is not None else None
    return WorkRow(state.running, share, now.sentence() if now is not None else "", state.problem)


def rows_of(report: Report, name: str) -> ReportRows:
    """The rows of a report that was made here; `name` says what it is of."""
    made_at = report.made_at.replace("T", " ")[:16]
    return ReportRows(
        title=report.title,
        about=" · ".join(part for part in (name, made_at) if part),
        summary=report.summary,
        verdicts=tuple(VerdictRow(x.name, badge(x.gate), x.sentence, x.url) for x in report.lines),
        tables=tuple(
            TableRows(x.title, x.columns, x.rows[:_MOST_ROWS], max(0, len(x.rows) - _MOST_ROWS))
            for x in report.tables
        ),
        not_measured=report.not_measured,
    )


def report_rows(text: str, name: str) -> ReportRows:
    """The rows of the report in `text`.

    Raises:
        UserError: It is no report; the sentence names `name` and what to give instead.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raw = None
    verdicts = tuple(_verdicts(raw)) if isinstance(raw, dict) else ()
    if not isinstance(raw, dict) or not verdicts:
        raise UserError(
            f"{name} is no report; give the JSON file that `compare`, `verify`, `probe` or `doctor` wrote."
        )
    made_at = _text(raw.get("made_at")).replace("T", " ")[:16]
    return ReportRows(
        title=_text(raw.get("title")) or name,
        about=" · ".join(part for part in (name, made_at) if part),
        summary=_text(raw.get("summary")),
        verdicts=verdicts,
        tables=tuple(_tables(raw)),
        not_measured=tuple((_text(x.get("what")), _text(x.get("why"))) for x in _dicts(raw, "not_measured")),
    )


def _verdicts(raw: dict[str, object]) -> Iterator[VerdictRow]:
    for line in _dicts(raw, "verdicts"):
        known = [gate for gate in Gate if gate.value == line.get("verdict")]
        yield VerdictRow(
            _text(line.get("name")),
            badge(known[0] if known else Gate.NOT_MEASURED),
            _text(line.get("sentence")),
            _text(line.get("page")),
        )


def _tables(raw: dict[str, object]) -> Iterator[TableRows]:
    for table in _dicts(raw, "tables"):
        rows = _dicts(table, "rows")
        columns = tuple(dict.fromkeys(key for row in rows for key in row))
        shown = tuple(tuple(_text(row.get(key)) for key in columns) for row in rows[:_MOST_ROWS])
        yield TableRows(_text(table.get("title")), columns, shown, max(0, len(rows) - _MOST_ROWS))


def _dicts(raw: dict[str, object], key: str) -> list[dict[str, object]]:
    value = raw.get(key)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, (dict, list)) else str(value)
