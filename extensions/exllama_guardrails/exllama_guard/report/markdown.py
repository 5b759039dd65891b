"""A report as Markdown for a page or an issue; plots are left to the HTML form."""

from __future__ import annotations

from collections.abc import Sequence

from exllama_guard.report.values import Line, Report

__all__ = ["as_markdown"]


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
