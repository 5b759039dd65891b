"""HTML of the panel's frame: drawn once; everything that changes is put into its places by the script."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from exllama_guard.panel.check.markup import check_form
from exllama_guard.panel.check.markup_calibrate import form as calibrate_form
from exllama_guard.panel.html import Html, button, el, join
from exllama_guard.panel.turn.markup import glance_empty, legend

_HERE = Path(__file__).parent

PROBE_PLACES = ("probe", "agreement", "gold", "golded", "replay", "replayed", "compare", "reports", "opened")
DOCTOR_PLACES = ("findings", "checkup", "checked-up", "prompt")

TAB_NAMES = {
    "turn": "Turn",
    "time": "Over time",
    "history": "History",
    "probes": "Probes",
    "doctor": "Doctor",
    "check": "Check",
    "tools": "Tools",
    "model": "Model",
    "settings": "Settings",
}


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
            for key, name in TAB_NAMES.items()
        ],
        cls="eg-tabs",
        role="tablist",
        aria_label="Guardrails",
    )
    panels = [
        _panel("turn", _turn("t.")),
        _panel("time", join([_place(name) for name in ("plot", "long", "turns")])),
        _panel("history", _place("history")),
        _panel("probes", join([_place(name) for name in PROBE_PLACES])),
        _panel("doctor", join([_place(name) for name in DOCTOR_PLACES])),
        _panel("check", join(check_form(), _place("checking"), _checked())),
        _panel("tools", join([_place(name) for name in ("tools", "answers", "schema")])),
        _panel("model", join([_place(name) for name in ("model", "cache", "drift", "loader")])),
        _panel("settings", join(_place("settings"), calibrate_form(), _place("calibrated"))),
    ]
    body = el("div", tabs, panels, id="eg-body", cls="eg-body", hidden=True)
    status = el("p", cls="eg-said", role="status", aria_live="polite", data_said=True)
    toast = el("div", status, cls="eg-toast", popover="manual")
    return el(
        "section",
        style,
        _line(),
        bar,
        _place("problems"),
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


def _place(name: str, cls: str | None = None) -> Html:
    return el("div", data_slot=name, cls=cls)


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


def _turn(prefix: str) -> Html:
    """The places of one turn."""
    return join(
        _place(prefix + "head", "eg-head"),
        _place(prefix + "acted"),
        el(
            "div",
            el(
                "div",
                el("div", data_list=prefix + "answer", cls="eg-answer", aria_label="Answer", role="group"),
                legend(),
                cls="eg-main",
            ),
            el("aside", data_slot=prefix + "evidence", cls="eg-evidence", aria_label="Evidence"),
            cls="eg-split",
        ),
        el("div", el("h4", "Numbers"), el("div", data_list=prefix + "numbers"), cls="eg-block"),
        el("div", el("h4", "Snippets"), el("div", data_list=prefix + "snippets"), cls="eg-block"),
    )


def _checked() -> Html:
    """The places of a pasted text's result, hidden until there is one."""
    head = el("div", data_slot="checked", cls="eg-glance eg-checked")
    return el("div", head, _turn("p."), data_when="checked", hidden=True)
