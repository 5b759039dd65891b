"""Plots of ΔS, support and E_resonance by turn: lines in SVG, points as buttons that open their turn."""

from __future__ import annotations

from collections.abc import Sequence

from exllama_guard.core.html import Html, el, join
from exllama_guard.panel.html import empty
from exllama_guard.panel.over_time.rows import Mark, PlotRow, Point, Series


def plot(row: PlotRow) -> Html:
    """Three plots over the same turns, one above the other, and the list of events."""
    count = len(row.series[0].points)
    if count == 0:
        return empty("No turns yet", "Ask the model something; each answer becomes a point here.")
    signs = (
        "Each point is a turn; a click opens it. Its sign is the turn’s verdict, not the outcome of this one "
        "number: circle pass, diamond review, square fail, empty ring not measured."
    )
    return join(
        [_panel(series, row, count) for series in row.series],
        el("p", signs, cls="eg-note eg-signs"),
        _events(row.marks),
    )


def _panel(series: Series, row: PlotRow, count: int) -> Html:
    """One plot. Lines are drawn on a stretched ground of `count` by 100, so that it fits any width."""
    lines: list[Html] = [
        _line(0.0, count, series, "eg-p-axis"),
        _line(series.top, count, series, "eg-p-axis"),
    ]
    lines += [_line(limit, count, series, "eg-p-limit") for limit, _ in series.limits]
    lines += [_event(mark) for mark in row.marks]
    for run in _runs(series.points):
        corners = " ".join(f"{index + 0.5:g},{_down(value, series):g}" for index, value in run)
        lines.append(el("polyline", points=corners, cls="eg-p-line"))
    ground = el(
        "svg",
        lines,
        viewBox=f"0 0 {count} 100",
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
    )
    ticks = [_tick(0.0, "0", series), _tick(series.top, f"{series.top:g}", series)]
    ticks += [_tick(limit, f"{limit:.2f}", series, words) for limit, words in series.limits]
    points = [_point(point, i, series, row.questions[i]) for i, point in enumerate(series.points)]
    dashed = ", ".join(f"{words} {limit:.2f}" for limit, words in series.limits)
    about = series.explanation + (f" Dashed: {dashed}." if dashed else "")
    return el(
        "figure",
        el("figcaption", el("b", series.name), " ", el("span", about, cls="eg-note")),
        el("div", el("div", ground, ticks, points, cls="eg-p-box", style=f"--n:{count}"), cls="eg-p-scroll"),
        cls="eg-plot",
    )


def _down(value: float, series: Series) -> float:
    """How far below the top a value stands, in percent."""
    return round(100 * (1 - min(max(value / series.top, 0.0), 1.0)), 1)


def _line(value: float, count: int, series: Series, cls: str) -> Html:
    y = _down(value, series)
    return el("line", x1=0, x2=count, y1=y, y2=y, cls=cls)


def _tick(value: float, text: str, series: Series, words: str = "") -> Html:
    title = f"{words} {text}" if words else None
    return el("span", text, cls="eg-p-tick", style=f"top:{_down(value, series):g}%", title=title)


def _runs(points: Sequence[Point]) -> list[list[tuple[int, float]]]:
    """Stretches of measured neighbours: a line never crosses a turn that was not measured."""
    runs: list[list[tuple[int, float]]] = [[]]
    for index, point in enumerate(points):
        if point.value is None:
            runs.append([])
        else:
            runs[-1].append((index, point.value))
    return [run for run in runs if len(run) > 1]


def _point(point: Point, index: int, series: Series, question: str) -> Html:
    """A dot for a pass, a diamond for review, a square for a fail, a ring where nothing was measured."""
    label = f"Turn {index + 1}: {series.name} {point.text}, verdict {point.badge.word}. {question}"
    down = 100.0 if point.value is None else _down(point.value, series)
    tone = "none" if point.value is None else point.badge.tone
    return el(
        "button",
        el("i", aria_hidden="true"),
        type="button",
        cls=f"eg-p-point eg-{tone}",
        style=f"--i:{index};top:{down:g}%",
        aria_label=label,
        title=label,
        data_act="turn",
        data_turn=point.turn_id,
    )


def _event(mark: Mark) -> Html:
    return el("line", x1=mark.before, x2=mark.before, y1=0, y2=100, cls="eg-p-event")


def _events(marks: Sequence[Mark]) -> Html | None:
    if not marks:
        return None
    items = [
        el("li", el("span", f"before turn {mark.before + 1}", cls="eg-note"), " ", mark.text)
        for mark in marks
    ]
    return el("section", el("h4", "Events"), el("ul", items, cls="eg-events"))
