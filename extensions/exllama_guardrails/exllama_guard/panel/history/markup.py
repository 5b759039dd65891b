"""HTML of past turns: the last ones, the filtered history, its export."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exllama_guard.core.html import Html, el, join
from exllama_guard.core.measures import Gate
from exllama_guard.panel.forms import select
from exllama_guard.panel.history.archive import Filter, HistoryPage, HistoryRow
from exllama_guard.panel.html import badge, button, empty, table
from exllama_guard.panel.words import GATE_TONES, GATE_WORDS


def turn_list(rows: Sequence[HistoryRow]) -> Html:
    """The last turns, newest first, each opened with a click."""
    if not rows:
        return Html("")
    title = "Last turn" if len(rows) == 1 else f"Last {len(rows)} turns"
    return join(el("h4", title), _table(rows))


def history(page: HistoryPage, chosen: Filter) -> Html:
    """The filtered history with its filters, pages and exports."""
    verdicts = [(gate.value, GATE_WORDS[gate]) for gate in Gate]
    tools = el(
        "div",
        _select("chat", "Chat", [(chat, chat) for chat in page.chats], chosen.chat),
        _select("verdict", "Verdict", verdicts, chosen.verdict),
        _select("model", "Model", [(model, model) for model in page.models], chosen.model),
        el(
            "span",
            el("span", "Export", cls="eg-label"),
            [button(kind.upper(), "export", data_kind=kind) for kind in ("json", "csv", "html")],
            cls="eg-export",
        ),
        cls="eg-tools",
    )
    if page.total == 0 and page.unread:
        return join(tools, _reading(page.unread))
    if page.total == 0:
        filtered_out = bool(chosen.chat or chosen.verdict or chosen.model)
        return join(
            tools if filtered_out else None,
            empty("Nothing matches", "Choose “All” in a filter above.")
            if filtered_out
            else empty(
                "No history yet", "Checked answers are kept here when traces are on (Settings, Traces)."
            ),
        )
    return join(tools, _reading(page.unread), _unreadable(page.unreadable), _table(page.rows), _pager(page))


def _reading(unread: int) -> Html | None:
    """That older turns are still being read."""
    if not unread:
        return None
    left = f"{max(0.1, unread / 1e6):.1f} MB"
    return el("p", f"Reading older turns: {left} of trace files are left.", cls="eg-note", role="status")


def _unreadable(count: int) -> Html | None:
    if not count:
        return None
    lines = "1 line" if count == 1 else f"{count} lines"
    return el("p", f"{lines} of the trace files could not be read and are left out.", cls="eg-note")


def _select(name: str, label: str, options: Iterable[tuple[str, str]], value: str) -> Html:
    return el(
        "label",
        el("span", label, cls="eg-label"),
        select((("", "All"), *options), value, data_filter=name),
        cls="eg-field-inline",
    )


def _pager(page: HistoryPage) -> Html:
    first = page.page == 0
    last = page.page + 1 >= page.pages
    return el(
        "nav",
        _turner("Newer", page.page - 1, first),
        el("span", f"Page {page.page + 1} of {page.pages}, {page.total} turns", cls="eg-note"),
        _turner("Older", page.page + 1, last),
        cls="eg-pager",
        aria_label="Pages of the history",
    )


def _turner(name: str, page: int, is_end: bool) -> Html:
    """A button that turns pages; at the end it stays reachable, so that the keyboard is not lost there."""
    disabled = "true" if is_end else None
    return button(name, "page", data_page=page, data_kind=name.lower(), aria_disabled=disabled)


def _table(rows: Sequence[HistoryRow]) -> Html:
    head = ("Verdict", "Question", "Support", "ΔS", "Model", "When")
    return table(head, [_line(row) for row in rows], cls="eg-stack")


def _line(row: HistoryRow) -> Html:
    question = button(row.question or "(no text kept)", "turn", cls="eg-link eg-ask", data_turn=row.turn_id)
    return el(
        "tr",
        el("td", badge(GATE_WORDS[row.verdict], GATE_TONES[row.verdict])),
        el("td", question, title=row.reason),
        el("td", _figure(row.support), cls="eg-num", data_label="Support"),
        el("td", _figure(row.distance), cls="eg-num", data_label="ΔS"),
        el("td", row.model or "–", cls="eg-note"),
        el("td", row.at, cls="eg-note"),
    )


def _figure(value: float | None) -> Html:
    if value is None:
        return join(el("span", "–", aria_hidden="true"), el("span", "not measured", cls="eg-vh"))
    return join(f"{value:.2f}")


def report_page(rows: Sequence[HistoryRow]) -> Html:
    """A whole HTML page of the rows, for an export; it needs no script and no network."""
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#1d1f24}table{border-collapse:collapse}"
        "td,th{padding:.4rem .8rem;border-bottom:1px solid #dfe2e8;text-align:left;vertical-align:top}"
    )
    head = el(
        "head", el("title", "Guardrails history"), el("meta", charset="utf-8"), el("style", Html(style))
    )
    names = ("Verdict", "Question", "Reason", "Support", "ΔS", "Model", "Chat", "When")
    body = [
        el(
            "tr",
            [
                el("td", cell)
                for cell in (
                    GATE_WORDS[row.verdict],
                    row.question,
                    row.reason,
                    "not measured" if row.support is None else f"{row.support:.2f}",
                    "not measured" if row.distance is None else f"{row.distance:.2f}",
                    row.model,
                    row.chat,
                    row.at,
                )
            ],
        )
        for row in rows
    ]
    answers = el("table", el("tr", [el("th", name) for name in names]), body)
    page = el("html", head, el("body", el("h1", f"{len(rows)} checked answers"), answers), lang="en")
    return join(Html("<!doctype html>"), page)
