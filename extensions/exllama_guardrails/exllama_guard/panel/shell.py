"""HTML of the panel's frame: drawn once; everything that changes is put into its places by the script."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from exllama_guard.core.html import Html, el, join
from exllama_guard.panel.card import place
from exllama_guard.panel.cards import CARDS
from exllama_guard.panel.html import button
from exllama_guard.panel.message import TABS
from exllama_guard.panel.turn.markup import glance_empty

_HERE = Path(__file__).parent


@cache
def script() -> str:
    """The panel's script: one JavaScript function of no arguments that may be called again."""
    return (_HERE / "panel.js").read_text(encoding="utf-8")


@cache
def shell() -> Html:
    """The frame with its style sheet, folded, with an empty line in the place of the verdict."""
    style = el("style", Html((_HERE / "panel.css").read_text(encoding="utf-8")))
    bar = el(
        "div",
        el("div", glance_empty("Guardrails", "Connecting…"), cls="eg-glance", data_slot="glance"),
        el(
            "div",
            button("Chat", "chat", cls="eg-btn eg-up", hidden=True, title="Back up to the chat"),
            button("Details", "fold", cls="eg-btn", aria_expanded="false", aria_controls="eg-body"),
            el(
                "button",
                el("span", "Guardrails", cls="eg-vh"),
                el("i", aria_hidden="true"),
                type="button",
                cls="eg-switch",
                role="switch",
                aria_checked="true",
                data_act="switch",
                title="Switch the checks on or off; the chat goes on either way.",
            ),
            cls="eg-bar-end",
        ),
        cls="eg-bar",
    )
    tabs = el(
        "div",
        [
            el(
                "button",
                name,
                type="button",
                role="tab",
                id=f"eg-tab-{key}",
                aria_controls=f"eg-panel-{key}",
                aria_selected="true" if key == "turn" else "false",
                tabindex="0" if key == "turn" else "-1",
                data_act="tab",
                data_tab=key,
            )
            for key, name in TABS
        ],
        cls="eg-tabs",
        role="tablist",
        aria_label="Guardrails",
    )
    panels = [_panel(key, join([card.frame() for card in CARDS if card.tab == key])) for key, _ in TABS]
    body = el("div", tabs, panels, id="eg-body", cls="eg-body", hidden=True)
    status = el("p", cls="eg-said", role="status", aria_live="polite", data_said=True)
    toast = el("div", status, cls="eg-toast", popover="manual")
    return el(
        "section",
        style,
        _line(),
        bar,
        place("problems"),
        body,
        toast,
        id="eg-root",
        cls="eg",
        aria_label="ExLlama Guardrails",
    )


def _line() -> Html:
    """The one line as it sits in the host's chat; the script puts it there, and elsewhere it stays hidden."""
    return el(
        "section",
        el("div", glance_empty("Guardrails", "Connecting…"), cls="eg-glance", data_slot="glance"),
        button("Details", "peek", cls="eg-btn"),
        id="eg-line",
        cls="eg eg-line",
        aria_label="Verdict of the newest answer",
        hidden=True,
    )


def _panel(key: str, content: Html) -> Html:
    return el(
        "div",
        content,
        id=f"eg-panel-{key}",
        role="tabpanel",
        aria_labelledby=f"eg-tab-{key}",
        data_panel=key,
        hidden=key != "turn",
        cls="eg-panel",
    )
