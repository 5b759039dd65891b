"""A report as Markdown for a page or an issue; plots are left to the HTML form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

from exllama_guard.report.values import Report

__all__ = ["as_markdown"]

_SPECIAL = re.compile(r"[\\`*\[\]|]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^(?:[#=~]|[+-](?=[\s-]|$))")
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")  # would begin a list
_IN_ADDRESS = ":/?#@!$&*+,;=%~"


def as_markdown(report: Report) -> str:
    """The report for a page or an issue; plots are left to the HTML form."""
    parts = [f"# {_plain(report.title)}", _plain(report.summary), "## Verdicts"]
    parts.append(
        _grid(
            ("what", "verdict", "why"),
            [(x.name, x.gate.value, x.sentence) for x in report.lines],
            _links(report),
        )
    )
    for table in report.tables:
        parts += [f"## {_plain(table.title)}", _grid(table.columns, table.rows)]
        if table.note:
            parts.append(_plain(table.note))
    if report.environment:
        parts += ["## Environment", _grid(("", ""), report.environment)]
    parts.append("## Not measured")
    parts.append(
        "\n".join(f"- {_plain(what)}: {_plain(why)}" for what, why in report.not_measured)
        or "Nothing was left out."
    )
    return "\n\n".join(parts) + "\n"


def _links(report: Report) -> Sequence[str]:
    """What follows each line: a link to its page where it has one."""
    return [f" [page]({_address(line.url)})" if line.url else "" for line in report.lines]


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]], ends: Sequence[str] = ()) -> str:
    """A table; `ends` are Markdown that follows the last cell of each row."""
    written = [f"| {' | '.join(_plain(column) for column in columns)} |", f"|{'---|' * len(columns)}"]
    for row, end in zip(rows, ends or [""] * len(rows), strict=True):
        written.append(f"| {' | '.join(_plain(cell) for cell in row)}{end} |")
    return "\n".join(written)


def _plain(text: str) -> str:
    """The text in one line, so that Markdown shows it as it is: no markup of its own, no HTML."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _NUMBERED.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", line))


def _address(url: str) -> str:
    """An address for a link; "#" where it is none of the web."""
    return quote(url, safe=_IN_ADDRESS) if url.startswith(("https://", "http://")) else "#"
