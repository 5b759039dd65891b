"""A report as plain values for a JSON file."""

from __future__ import annotations

import json
from typing import Any

from exllama_guard.report.values import Chart, Report

__all__ = ["as_json", "as_json_text"]


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


def as_json_text(report: Report) -> str:
    """The report as the text of a JSON file."""
    return json.dumps(as_json(report), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _chart(chart: Chart) -> dict[str, Any]:
    return {
        "title": chart.title,
        "unit": chart.unit,
        "lines": {line.name: list(line.values) for line in chart.lines},
        "ranges": {one.name: [one.low, one.mean, one.high] for one in chart.ranges},
        "limits": {words: value for value, words in chart.limits},
    }
