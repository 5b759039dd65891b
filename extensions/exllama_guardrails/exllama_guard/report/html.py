"""A report as one HTML file that needs nothing else: no script, no network, pictures as inline SVG."""
# ruff: noqa: E501 - a style sheet is read one rule a line

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from exllama_guard.core.html import Html, el, join
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
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width"),
        el("title", report.title),
        el("style", Html(_STYLE)),
    )
    body = el(
        "body",
        el("h1", report.title),
        el("p", report.summary),
        el("p", report.made_at, cls="n") if report.made_at else None,
        _verdicts(report),
        [_chart(chart) for chart in report.charts],
        [_table(table) for table in report.tables],
        _table(Table("Environment", ("what", "value"), report.environment)) if report.environment else None,
        _left_out(report),
    )
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def _verdicts(report: Report) -> Html:
    rows = [
        el(
            "tr",
            el("td", line.name),
            el("td", _WORDS[line.gate], cls=f"g {line.gate.value}"),
            el("td", line.sentence, _link(line.url)),
        )
        for line in report.lines
    ]
    return join(el("h2", "Verdicts"), _wide(el("tbody", rows)))


def _link(url: str) -> Html | None:
    if not url.startswith("https://"):
        return None
    return join(" ", el("a", "page", href=url, rel="noreferrer"))


def _table(table: Table) -> Html:
    head = el("thead", el("tr", [el("th", column) for column in table.columns]))
    body = el("tbody", [el("tr", [el("td", cell) for cell in row]) for row in table.rows])
    note = el("p", table.note, cls="n") if table.note else None
    return join(el("h2", table.title), _wide(head, body), note)


def _wide(*parts: Html) -> Html:
    return el("div", el("table", list(parts)), cls="wide")


def _left_out(report: Report) -> Html:
    items = [el("li", f"{what}: {why}") for what, why in report.not_measured]
    return join(el("h2", "Not measured"), el("ul", items) if items else el("p", "Nothing was left out."))


# --- pictures -------------------------------------------------------------------------------------------


def _chart(chart: Chart) -> Html:
    picture = _ranges(chart) if chart.ranges else _lines(chart)
    if picture is None:
        return Html("")
    return el("figure", el("figcaption", el("h2", chart.title)), picture)


def _line(
    x1: float,
    x2: float,
    y1: float,
    y2: float,
    stroke: str | None = None,
    dash: str | None = None,
    width: int | None = None,
) -> Html:
    ends = {name: f"{value:.1f}" for name, value in (("x1", x1), ("x2", x2), ("y1", y1), ("y2", y2))}
    return el("line", stroke=stroke, stroke_dasharray=dash, stroke_width=width, **ends)


def _text(x: float, y: float, words: str, anchor: str | None = None) -> Html:
    return el("text", words, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _lines(chart: Chart) -> Html | None:
    known = [value for line in chart.lines for value in line.values if value is not None]
    count = max((len(line.values) for line in chart.lines), default=0)
    if not known:
        return None
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
    return _svg([*parts, *_legend(chart)], _H + 2 * _TOP + 22 * len(chart.lines), chart.title)


def _runs(values: Sequence[float | None], x: Place, y: Place, number: int, name: str) -> Iterator[Html]:
    """Lines between measured neighbours, and a dot for each measured value."""
    run: list[str] = []
    for place, value in enumerate([*values, None]):
        if value is None:
            if len(run) > 1:
                yield el(
                    "polyline",
                    points=" ".join(run),
                    fill="none",
                    stroke="var(--s)",
                    stroke_width=2,
                    stroke_dasharray=_DASHES[number % 4] or None,
                )
            run = []
            continue
        run.append(f"{x(place):.1f},{y(value):.1f}")
        title = el("title", f"{name}, {place + 1}: {value:.3f}")
        dot = el("circle", cx=f"{x(place):.1f}", cy=f"{y(value):.1f}", r="3.5", fill="var(--s)")
        yield el("g", title, dot)


def _legend(chart: Chart) -> Iterator[Html]:
    for number, line in enumerate(chart.lines):
        y = _H + 2 * _TOP + 22 * number + 10
        yield _line(_L, _L + 36, y, y, "var(--s)", _DASHES[number % 4] or None, 2)
        yield _text(_L + 44, y + 4, line.name)


def _tick(value: float, y: float) -> Html:
    return join(_line(_L, _W, y, y, "var(--l)"), _text(_L - 6, y + 4, f"{value:.2f}", "end"))


def _limit(value: float, words: str, y: float) -> Html:
    line = _line(_L, _W, y, y, "var(--r)", "4 4")
    return join(line, _text(_W - 4, y - 4, f"{words} {value:.2f}", "end"))


def _ranges(chart: Chart) -> Html:
    band: tuple[float, ...] = chart.band or ()
    ends: list[float] = [value for one in chart.ranges for value in (one.low, one.high)] + [0.0, *band]
    low, high = min(ends), max(ends)
    left, right = 200.0, _W - 30

    def x(value: float) -> float:
        return left + (right - left) * (value - low) / ((high - low) or 1.0)

    height = 34.0 * len(chart.ranges) + 34
    parts: list[Html] = []
    if chart.band is not None:
        a, b = (x(value) for value in chart.band)
        size = {"x": f"{a:.1f}", "width": f"{b - a:.1f}", "height": f"{height - 28:.1f}"}
        parts.append(el("rect", y=4, fill="var(--p)", opacity=".18", **size))
    for value in sorted({low, 0.0, high}):
        parts.append(_line(x(value), x(value), 4, height - 24, "var(--l)"))
        parts.append(_text(x(value), height - 6, f"{value:+.3f}", "middle"))
    for row, one in enumerate(chart.ranges):
        y = 24.0 + 34 * row
        title = el("title", f"{one.name}: {one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f})")
        dot = el("circle", cx=f"{x(one.mean):.1f}", cy=f"{y:.1f}", r=4, fill="var(--s)")
        parts.append(_text(0, y + 4, one.name[:32]))
        parts.append(
            el("g", title, _line(x(one.low), x(one.high), y, y), dot, stroke="var(--s)", stroke_width=2)
        )
    return _svg(parts, height, chart.title)


def _svg(parts: Sequence[Html], height: float, title: str) -> Html:
    size = {"viewBox": f"0 0 {_W:g} {height:g}", "width": f"{_W:g}", "height": f"{height:g}"}
    return el("svg", list(parts), role="img", aria_label=title, **size)
