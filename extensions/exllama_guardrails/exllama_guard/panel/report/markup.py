"""HTML of a report: verdicts first, then its tables, then what was not measured."""

from __future__ import annotations

from exllama_guard.core.html import Html, el, join, source_link
from exllama_guard.panel.html import badge, button, icon, table
from exllama_guard.panel.report.rows import ReportRows, TableRows, VerdictRow, WorkRow

__all__ = ["downloads", "problem", "progress", "report", "work_card"]


def report(rows: ReportRows | None, *, close: str = "") -> Html:
    """The whole report; `close` is the action of the button that takes it away."""
    if rows is None:
        return Html("")
    return el(
        "article",
        el(
            "div",
            el("p", rows.title, cls="eg-question"),
            button("Close", close, cls="eg-btn") if close else None,
            cls="eg-ev-head",
        ),
        el("p", rows.about, cls="eg-note"),
        el("p", rows.summary, cls="eg-lead") if rows.summary else None,
        [_table(one) for one in rows.tables[:1] if len(one.rows) <= _FEW_ROWS],
        el("ul", [_verdict(row) for row in rows.verdicts], cls="eg-verdicts"),
        [_table(one) for one in rows.tables if one is not rows.tables[0] or len(one.rows) > _FEW_ROWS],
        _not_measured(rows.not_measured),
        cls="eg-report",
    )


def _verdict(row: VerdictRow) -> Html:
    page = join(" ", _page(row.page)) if row.page else None
    return el(
        "li",
        badge(row.badge.word, row.badge.tone),
        el("div", el("b", row.name), el("div", row.sentence, page, cls="eg-note")),
    )


def _page(url: str) -> Html:
    """A link to the page that explains a verdict; only a web address becomes one."""
    if not url.startswith("https://"):
        return source_link(url)
    return el("a", "How to repair it", href=url, target="_blank", rel="noopener noreferrer", cls="eg-src")


def _table(rows: TableRows) -> Html:
    body = [el("tr", [el("td", cell) for cell in row]) for row in rows.rows]
    more = f"{rows.left_out} more rows are in the file." if rows.left_out else ""
    return el(
        "details",
        el("summary", el("b", rows.title), el("span", f"{len(rows.rows)} rows", cls="eg-note")),
        table(rows.columns, body, label=rows.title),
        el("p", more, cls="eg-note") if more else None,
        open=len(rows.rows) <= _FEW_ROWS,
        cls="eg-sn",
    )


_FEW_ROWS = 12


def _not_measured(pairs: tuple[tuple[str, str], ...]) -> Html | None:
    if not pairs:
        return None
    items = [el("li", el("b", what), f": {why}") for what, why in pairs]
    return el("section", el("h4", "Not measured"), el("ul", items, cls="eg-plainlist"))


def work_card(title: str, about: str, work: WorkRow, form: Html, *, label: str, stop: str) -> Html:
    """What is done and the form that starts it; while it runs, how far it is."""
    head = join(el("h4", title), el("p", about, cls="eg-note"))
    if work.running:
        return join(head, progress(work.share, work.progress, label, stop))
    return join(head, problem(work.problem), form)


def progress(share: float | None, text: str, label: str, stop: str) -> Html:
    """A bar with words, and the button that stops the work."""
    known = share is not None
    return el(
        "div",
        el(
            "div",
            el(
                "div",
                el("i", style=f"width:{share:.1%}" if known else None),
                cls="eg-fill" if known else "eg-fill eg-waiting",
                role="progressbar",
                aria_label=label,
                aria_valuemin=0,
                aria_valuemax=100,
                aria_valuenow=round(100 * share) if share is not None else None,
            ),
            el("span", text or "Starting …", cls="eg-note eg-num"),
            cls="eg-meter",
        ),
        button("Cancel", stop),
        cls="eg-running",
    )


def downloads(what: str) -> Html:
    """The buttons that save a report."""
    kinds = (("HTML", "html"), ("JSON", "json"), ("Markdown", "md"))
    return el(
        "span",
        el("span", "Save the report", cls="eg-label"),
        [button(name, "save-report", data_what=what, data_kind=kind) for name, kind in kinds],
        cls="eg-export",
    )


def problem(sentence: str) -> Html | None:
    """Why something did not run, in one sentence."""
    return el("p", icon(), sentence, cls="eg-trouble eg-review", role="alert") if sentence else None
