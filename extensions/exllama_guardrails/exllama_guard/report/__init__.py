"""A report as plain values, and as HTML, Markdown and JSON."""

from __future__ import annotations

from exllama_guard.report.html import as_html
from exllama_guard.report.json import as_json_text
from exllama_guard.report.markdown import as_markdown
from exllama_guard.report.values import Chart, ChartLine, ChartRange, Line, Report, Table, shown

__all__ = [
    "Chart",
    "ChartLine",
    "ChartRange",
    "Line",
    "Report",
    "Table",
    "as_html",
    "as_json_text",
    "as_markdown",
    "shown",
]
