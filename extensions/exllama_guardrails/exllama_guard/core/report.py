"""A report as plain values: verdicts first, then tables and plots, the environment, what was not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exllama_guard.core.records import Gate, Measure, NotScored

__all__ = ["Chart", "ChartLine", "ChartRange", "Line", "Report", "Table", "as_json", "as_markdown", "shown"]


@dataclass(frozen=True, slots=True)
class Line:
    """One verdict: what was tested, its outcome, and the sentence with its numbers."""

    name: str
    gate: Gate
    sentence: str
    url: str = ""  # of the page that explains it


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as they are shown; every row has as many as there are columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class ChartLine:
    """One line of a chart over places 0, 1, 2 ...; None where nothing was measured."""

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class ChartRange:
    """A mean with its interval, drawn as a bar with ends."""

    name: str
    low: float
    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over turns, or ranges beside a shaded band. `bands` are (low, high) around 0, inner first."""

    title: str
    unit: str
    lines: tuple[ChartLine, ...] = ()
    ranges: tuple[ChartRange, ...] = ()
    limits: tuple[tuple[float, str], ...] = ()
    band: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything of one probe."""

    title: str
    summary: str
    lines: tuple[Line, ...]
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    not_measured: tuple[tuple[str, str], ...] = ()  # what, why
    made_at: str = ""  # ISO 8601


def shown(value: Measure | None, form: str = ".2f") -> str:
    """The number in `form`, or `not measured: why`; never 0 for a value that is missing."""
    if value is None:
        return "not measured"
    if isinstance(value, NotScored):
        return str(value)
    return format(value, form)


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain values for a JSON file."""
    return {
        "title": report.title,
        "made_at": report.made_at,
        "summary": report.summary,
        "verdicts": [
            {
                "name": line.name,
                "verdict": line.gate.value,
                "sentence": line.sentence,
                "page": line.url or None,
            }
            for line in report.lines
        ],
        "tables": [
            {"title": table.title, "rows": [dict(zip(table.columns, row, strict=True)) for row in table.rows]}
            for table in report.tables
        ],
        "charts": [_chart(chart) for chart in report.charts],
        "environment": dict(report.environment),
        "not_measured": [{"what": what, "why": why} for what, why in report.not_measured],
    }


def _chart(chart: Chart) -> dict[str, Any]:
    return {
        "title": chart.title,
        "unit": chart.unit,
        "lines": {line.name: list(line.values) for line in chart.lines},
        "ranges": {one.name: [one.low, one.mean, one.high] for one in chart.ranges},
        "limits": {words: value for value, words in chart.limits},
    }


def as_markdown(report: Report) -> str:
    """The report for a page or an issue; plots are left to the HTML form."""
    parts = [f"# {_plain(report.title)}", report.summary, "## Verdicts"]
    parts.append(
        _grid(("what", "verdict", "why"), [(x.name, x.gate.value, _linked(x)) for x in report.lines])
    )
    for table in report.tables:
        parts += [f"## {_plain(table.title)}", _grid(table.columns, table.rows)]
        if table.note:
            parts.append(table.note)
    if report.environment:
        parts += ["## Environment", _grid(("", ""), report.environment)]
    parts.append("## Not measured")
    parts.append(
        "\n".join(f"- {what}: {why}" for what, why in report.not_measured) or "Nothing was left out."
    )
    return "\n\n".join(parts) + "\n"


def _linked(line: Line) -> str:
    return f"{line.sentence} [page]({line.url})" if line.url else line.sentence


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = f"| {' | '.join(_cell(c) for c in columns)} |\n|{'---|' * len(columns)}"
    return "\n".join([head, *(f"| {' | '.join(_cell(c) for c in row)} |" for row in rows)])


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    return " ".join(text.split())
