"""A report as plain values: verdicts first, then tables and plots, the environment, what was not measured."""

from __future__ import annotations

from dataclasses import dataclass

from exllama_guard.core.measures import Gate, Measure, NotScored

__all__ = ["Chart", "ChartLine", "ChartRange", "Line", "Report", "Table", "shown"]


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
