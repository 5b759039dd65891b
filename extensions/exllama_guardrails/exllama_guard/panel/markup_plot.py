"""Inline SVG of ΔS, support and E_resonance by turn; a point is a button that opens its turn."""

from __future__ import annotations

from exllama_guard.panel.markup import Html, el, empty, join
from exllama_guard.panel.over_time import Mark, PlotRow, Point, Series

_LEFT, _STEP, _HEIGHT, _TOP = 40.0, 44.0, 112.0, 14.0


def plot(row: PlotRow) -> Html:
    """Three plots over the same turns, one above the other, and the list of events."""
    count = len(row.series[0].points)
    if count == 0:
        return empty("No turns yet", "Ask the model something; each answer becomes a point here.")
    width = _LEFT + _STEP * (count + 0.5)
    return join([_panel(series, row, width) for series in row.series], _events(row.marks))


def _panel(series: Series, row: PlotRow, width: float) -> Html:
    parts: list[Html] = [
        _axis(0.0, "0", width, series.top),
        _axis(series.top, f"{series.top:g}", width, series.top),
    ]
    for limit, words in series.limits:
        y = _y(limit, series.top)
        parts.append(el("line", x1=_LEFT, x2=width, y1=y, y2=y, cls="eg-p-limit"))
        parts.append(el("text", f"{limit:.2f}", x=_LEFT - 6, y=y + 4, cls="eg-p-tick", text_anchor="end"))
        parts.append(el("title", f"{words} {limit:.2f}"))
    parts += [_mark(mark) for mark in row.marks]
    for run in _runs(series.points):
        line = " ".join(f"{_x(index):g},{_y(value, series.top):g}" for index, value in run)
        parts.append(el("polyline", points=line, cls="eg-p-line"))
    parts += [_point(point, index, series, row.questions[index]) for index, point in enumerate(series.points)]
    picture = el(
        "svg",
        *parts,
        viewBox=f"0 0 {width:g} {_HEIGHT + 2 * _TOP:g}",
        width=width,
        height=_HEIGHT + 2 * _TOP,
        role="group",
        aria_label=f"{series.name} by turn",
    )
    return el(
        "figure",
        el("figcaption", el("b", series.name), " ", el("span", series.explanation, cls="eg-note")),
        el("div", picture, cls="eg-p-scroll"),
        cls="eg-plot",
    )


def _x(index: int) -> float:
    return _LEFT + _STEP * (index + 0.5)


def _y(value: float, top: float) -> float:
    return round(_TOP + _HEIGHT * (1 - min(max(value / top, 0.0), 1.0)), 1)


def _axis(value: float, text: str, width: float, top: float) -> Html:
    y = _y(value, top)
    return join(
        el("line", x1=_LEFT, x2=width, y1=y, y2=y, cls="eg-p-axis"),
        el("text", text, x=_LEFT - 6, y=y + 4, cls="eg-p-tick", text_anchor="end"),
    )


def _runs(points: tuple[Point, ...]) -> list[list[tuple[int, float]]]:
    """Stretches of measured neighbours: a line never crosses a turn that was not measured."""
    runs: list[list[tuple[int, float]]] = [[]]
    for index, point in enumerate(points):
        if point.value is None:
            runs.append([])
        else:
            runs[-1].append((index, point.value))
    return [run for run in runs if len(run) > 1]


def _point(point: Point, index: int, series: Series, question: str) -> Html:
    label = f"Turn {index + 1}: {series.name} {point.text}, {point.badge.word}. {question}"
    y = _y(point.value, series.top) if point.value is not None else _TOP + _HEIGHT
    shape = _shape(point, _x(index), y)
    return el(
        "g",
        el("title", label),
        el("circle", cx=_x(index), cy=y, r=14, cls="eg-p-touch"),
        shape,
        cls=f"eg-p-point eg-{point.badge.tone if point.value is not None else 'none'}",
        role="button",
        tabindex="0",
        aria_label=label,
        data_act="turn",
        data_turn=point.turn_id,
    )


def _shape(point: Point, x: float, y: float) -> Html:
    """A dot for a pass, a diamond for review, a square for a fail, a ring where nothing was measured."""
    if point.value is None or point.badge.tone == "none":
        return el("circle", cx=x, cy=y, r=4, cls="eg-p-hollow")
    if point.badge.tone == "pass":
        return el("circle", cx=x, cy=y, r=5)
    if point.badge.tone == "fail":
        return el("rect", x=x - 5, y=y - 5, width=10, height=10)
    return el("path", d=f"M{x:g} {y - 6.5:g}l6.5 6.5-6.5 6.5-6.5-6.5z")


def _mark(mark: Mark) -> Html:
    x = _LEFT + _STEP * mark.before
    return el(
        "g",
        el("title", mark.text),
        el("line", x1=x, x2=x, y1=_TOP, y2=_TOP + _HEIGHT, cls="eg-p-event"),
    )


def _events(marks: tuple[Mark, ...]) -> Html | None:
    if not marks:
        return None
    items = [
        el("li", el("span", f"before turn {mark.before + 1}", cls="eg-note"), " ", mark.text)
        for mark in marks
    ]
    return el("section", el("h4", "Events"), el("ul", items, cls="eg-events"))
