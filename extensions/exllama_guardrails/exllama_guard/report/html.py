"""A report as one HTML file that needs nothing else: no script, no network, pictures as inline SVG."""
# ruff: noqa: E501 - markup is read one element a line

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from exllama_guard.core.measures import Gate
from exllama_guard.report.values import Chart, Report, Table

__all__ = ["as_html"]

Place = Callable[[float], float]

_WORDS = {
    Gate.PASS: "✓ PASS",
    Gate.REVIEW: "◆ REVIEW",
    Gate.FAIL: "■ FAIL",
    Gate.NOT_MEASURED: "○ NOT MEASURED",
}
_STYLE = """
:root{color-scheme:light dark;--b:#fff;--t:#1b1f24;--m:#59636e;--l:#d1d9e0;--p:#116329;--r:#7d4e00;--f:#a40e26;--s:#0b5cad}
@media(prefers-color-scheme:dark){:root{--b:#12161b;--t:#e6edf3;--m:#9aa5b1;--l:#39424d;--p:#5fd07d;--r:#e3b341;--f:#ff8a83;--s:#79b8ff}}
body{font:15px/1.5 system-ui,sans-serif;background:var(--b);color:var(--t);max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
th,td{border-bottom:1px solid var(--l);padding:.35rem .6rem;text-align:left;vertical-align:top;overflow-wrap:break-word}
.wide{overflow-x:auto}.PASS{color:var(--p)}.REVIEW{color:var(--r)}.FAIL{color:var(--f)}.NOT_MEASURED{color:var(--m)}
.g{font-weight:600;white-space:nowrap}.n{color:var(--m)}svg{max-width:100%;height:auto;font:12px system-ui,sans-serif}
svg text{fill:var(--m)}figure{margin:1rem 0}a{color:var(--s)}
"""
_W, _H, _L, _TOP = 720.0, 200.0, 56.0, 14.0
_DASHES = ("", "6 4", "2 3", "8 3 2 3")


def as_html(report: Report) -> str:
    """The whole page; every text from outside is escaped."""
    parts = [
        f"<h1>{escape(report.title)}</h1><p>{escape(report.summary)}</p>",
        f'<p class="n">{escape(report.made_at)}</p>' if report.made_at else "",
        _verdicts(report),
        *(_chart(chart) for chart in report.charts),
        *(_table(table) for table in report.tables),
        _table(Table("Environment", ("what", "value"), report.environment)) if report.environment else "",
        _left_out(report),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(report.title)}</title>'
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{"".join(parts)}</body></html>\n'


def _verdicts(report: Report) -> str:
    rows = "".join(
        f'<tr><td>{escape(line.name)}</td><td class="g {line.gate.value}">{_WORDS[line.gate]}</td>'
        f"<td>{escape(line.sentence)}{_link(line.url)}</td></tr>"
        for line in report.lines
    )
    return f'<h2>Verdicts</h2><div class="wide"><table><tbody>{rows}</tbody></table></div>'


def _link(url: str) -> str:
    return (
        f' <a href="{escape(url, quote=True)}" rel="noreferrer">page</a>'
        if url.startswith("https://")
        else ""
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    note = f'<p class="n">{escape(table.note)}</p>' if table.note else ""
    return f'<h2>{escape(table.title)}</h2><div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}'


def _left_out(report: Report) -> str:
    items = "".join(f"<li>{escape(what)}: {escape(why)}</li>" for what, why in report.not_measured)
    return f"<h2>Not measured</h2>{f'<ul>{items}</ul>' if items else '<p>Nothing was left out.</p>'}"


# --- pictures -------------------------------------------------------------------------------------------


def _chart(chart: Chart) -> str:
    picture = _ranges(chart) if chart.ranges else _lines(chart)
    return (
        f"<figure><figcaption><h2>{escape(chart.title)}</h2></figcaption>{picture}</figure>"
        if picture
        else ""
    )


def _lines(chart: Chart) -> str:
    known = [value for line in chart.lines for value in line.values if value is not None]
    count = max((len(line.values) for line in chart.lines), default=0)
    if not known:
        return ""
    values = [*known, *(limit for limit, _ in chart.limits), 0.0]
    low, high = min(values), max(values) or 1.0

    def x(place: float) -> float:
        return _L + (_W - _L - 20) * (place + 0.5) / count

    def y(value: float) -> float:
        return _TOP + _H * (1 - (value - low) / ((high - low) or 1.0))

    parts = [_tick(value, y(value)) for value in (low, high)]
    parts += [_limit(value, words, y(value)) for value, words in chart.limits]
    for number, line in enumerate(chart.lines):
        parts += _runs(line.values, x, y, number, line.name)
    return _svg(parts, _H + 2 * _TOP + 22 * len(chart.lines), chart.title, _legend(chart))


def _runs(values: Sequence[float | None], x: Place, y: Place, number: int, name: str) -> list[str]:
    """Lines between measured neighbours, and a dot for each measured value."""
    parts: list[str] = []
    run: list[str] = []
    for place, value in enumerate([*values, None]):
        if value is None:
            if len(run) > 1:
                dash = f' stroke-dasharray="{_DASHES[number % 4]}"' if number % 4 else ""
                parts.append(
                    f'<polyline points="{" ".join(run)}" fill="none" stroke="var(--s)" stroke-width="2"{dash}/>'
                )
            run = []
            continue
        run.append(f"{x(place):.1f},{y(value):.1f}")
        title = f"<title>{escape(name)}, {place + 1}: {value:.3f}</title>"
        parts.append(
            f'<circle cx="{x(place):.1f}" cy="{y(value):.1f}" r="3.5" fill="var(--s)">{title}</circle>'
        )
    return parts


def _legend(chart: Chart) -> list[str]:
    parts = []
    for number, line in enumerate(chart.lines):
        y = _H + 2 * _TOP + 22 * number + 10
        dash = f' stroke-dasharray="{_DASHES[number % 4]}"' if number % 4 else ""
        parts.append(
            f'<line x1="{_L}" x2="{_L + 36}" y1="{y}" y2="{y}" stroke="var(--s)" stroke-width="2"{dash}/>'
        )
        parts.append(f'<text x="{_L + 44}" y="{y + 4}">{escape(line.name)}</text>')
    return parts


def _tick(value: float, y: float) -> str:
    line = f'<line x1="{_L}" x2="{_W}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--l)"/>'
    return f'{line}<text x="{_L - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>'


def _limit(value: float, words: str, y: float) -> str:
    line = f'<line x1="{_L}" x2="{_W}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--r)" stroke-dasharray="4 4"/>'
    return f'{line}<text x="{_W - 4}" y="{y - 4:.1f}" text-anchor="end">{escape(words)} {value:.2f}</text>'


def _ranges(chart: Chart) -> str:
    band: tuple[float, ...] = chart.band or ()
    ends: list[float] = [value for one in chart.ranges for value in (one.low, one.high)] + [0.0, *band]
    low, high = min(ends), max(ends)
    left, right = 200.0, _W - 30

    def x(value: float) -> float:
        return left + (right - left) * (value - low) / ((high - low) or 1.0)

    height = 34.0 * len(chart.ranges) + 34
    parts = []
    if chart.band is not None:
        a, b = (x(value) for value in chart.band)
        parts.append(
            f'<rect x="{a:.1f}" y="4" width="{b - a:.1f}" height="{height - 28:.1f}" fill="var(--p)" opacity=".18"/>'
        )
    for value in sorted({low, 0.0, high}):
        parts.append(
            f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="4" y2="{height - 24:.1f}" stroke="var(--l)"/>'
        )
        parts.append(
            f'<text x="{x(value):.1f}" y="{height - 6:.1f}" text-anchor="middle">{value:+.3f}</text>'
        )
    for row, one in enumerate(chart.ranges):
        y = 24 + 34 * row
        title = f"<title>{escape(one.name)}: {one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f})</title>"
        parts.append(f'<text x="0" y="{y + 4}">{escape(one.name[:32])}</text>')
        parts.append(
            f'<g stroke="var(--s)" stroke-width="2">{title}<line x1="{x(one.low):.1f}" x2="{x(one.high):.1f}" y1="{y}" y2="{y}"/>'
            f'<circle cx="{x(one.mean):.1f}" cy="{y}" r="4" fill="var(--s)"/></g>'
        )
    return _svg(parts, height, chart.title, [])


def _svg(parts: Sequence[str], height: float, title: str, legend: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_W:g} {height:g}" width="{_W:g}" height="{height:g}" role="img" '
        f'aria-label="{escape(title, quote=True)}">{"".join(parts)}{"".join(legend)}</svg>'
    )
