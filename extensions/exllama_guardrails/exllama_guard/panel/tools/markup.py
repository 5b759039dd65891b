"""HTML of the Tools tab: the locked tools of each chat, and the schema that answers must fit."""

from __future__ import annotations

from exllama_guard.core.html import Html, el, join
from exllama_guard.core.measures import NotScored
from exllama_guard.panel.forms import field, submit
from exllama_guard.panel.html import badge, button, empty, table
from exllama_guard.panel.tools.rows import STATE_TONES, STATE_WORDS, AnswerRows, ChatTools, ToolTab
from exllama_guard.tools import ToolRow

_HEAD = ("State", "Tool", "Calls", "Valid", "Held by", "Last violation")


def tools(card: ToolTab) -> Html:
    """What the loader enforces, and a table of tools for each chat."""
    promise = el("p", card.promise, cls="eg-lead")
    if not card.chats:
        nothing = empty(
            "No tools seen yet",
            "Tick tools beside the chat, or send tools by API; each is locked when it is first seen.",
        )
        return join(promise, nothing)
    return join(promise, [_chat(chat) for chat in card.chats])


def _chat(chat: ChatTools) -> Html:
    body = [_tool(row, chat.key) for row in chat.rows]
    return el("section", el("h4", chat.title), table(_HEAD, body, cls="eg-stack"), cls="eg-toolset")


def _tool(row: ToolRow, chat: str) -> Html:
    rate = (
        el("span", "–", title=row.valid_rate.detail or "no call yet")
        if isinstance(row.valid_rate, NotScored)
        else f"{row.valid_rate:.0%}"
    )
    line = el(
        "tr",
        el("td", badge(STATE_WORDS[row.state], STATE_TONES[row.state])),
        el("td", el("b", row.name or "(unnamed)"), el("div", el("code", row.sha256[:12]), cls="eg-note")),
        el("td", str(row.calls), cls="eg-num", data_label="Calls"),
        el("td", rate, cls="eg-num", data_label="Valid"),
        el("td", row.promise, cls="eg-words"),
        el("td", row.last_violation or "none", cls="eg-words" + ("" if row.last_violation else " eg-note")),
    )
    more = _more(row, chat)
    return join(line, el("tr", el("td", more, colspan=len(_HEAD)), cls="eg-more") if more else None)


def _more(row: ToolRow, chat: str) -> Html | None:
    if not row.changes:
        note = el("p", row.note, cls="eg-note") if row.note else None
        return join(note, _origins(row)) if note or row.origins else None
    return el(
        "div",
        el("p", row.note),
        el("ul", [el("li", el("code", change)) for change in row.changes], cls="eg-changes"),
        button("Accept the change", "accept", data_chat=chat, data_tool=row.name),
        cls="eg-drift",
    )


def _origins(row: ToolRow) -> Html | None:
    """Where each value of the last call comes from."""
    if not row.origins:
        return None
    lines = [el("li", el("code", line)) for line in row.origins]
    return el("div", el("p", "The last call's values", cls="eg-note"), el("ul", lines, cls="eg-changes"))


def answers(rows: AnswerRows | None, schema: str) -> Html:
    """The heading of the answers' schema, and how the answers under it ended."""
    head = el("h4", "Answers in JSON")
    if rows is None:
        text = (
            "No answer has been written under this schema yet."
            if schema
            else "Paste a JSON Schema, and answers must fit it. API requests can bring a response_format."
        )
        return join(head, el("p", text, cls="eg-note"))
    return join(
        head,
        el("p", badge(rows.word, rows.tone), " ", rows.sentence, cls="eg-state"),
        el("p", rows.counted, cls="eg-note"),
    )


def schema_form(schema: str) -> Html:
    """The field for a JSON Schema that answers must fit."""
    return el(
        "form",
        field(
            "JSON Schema of every answer",
            el("textarea", schema, name="answer_schema", rows=6, spellcheck="false", cls="eg-code"),
            "Empty: answers are free. Tools in a chat come before this schema.",
        ),
        el(
            "div",
            submit("Apply", primary=True),
            button("Remove", "clear-schema") if schema else None,
            cls="eg-row",
        ),
        data_form="schema",
        cls="eg-form",
    )
