"""HTML of the settings: every one with a plain hint, its value and its default."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from exllama_guard.core.html import Html, el
from exllama_guard.panel.fitted import fitted_limit
from exllama_guard.panel.forms import select, submit
from exllama_guard.panel.html import button
from exllama_guard.panel.words import CHOICE_WORDS, CHOICES_OF, SETTING_GROUPS, SETTING_HINTS
from exllama_guard.settings import Settings, choices


def settings_form(settings: Settings, *, can_keep: bool = False) -> Html:
    """Every setting with a plain hint, its present value and its default; and a button to keep it."""
    groups = [_group(title, names, settings) for title, names in SETTING_GROUPS]
    return el(
        "form",
        el(
            "p",
            "Changes hold until the program ends. ",
            "Keep writes the applied ones into the WebUI's settings file. By hand: write "
            if can_keep
            else "To keep one, write ",
            el("code", "exllama_guardrails-NAME: value"),
            " into settings.yaml; its NAME stands beside it.",
            cls="eg-note",
        ),
        groups,
        el(
            "div",
            submit("Apply", primary=True),
            button("Keep", "keep-settings") if can_keep else None,
            button("Reset to defaults", "reset-settings"),
            cls="eg-row",
        ),
        data_form="settings",
        cls="eg-form",
    )


def _group(title: str, names: Iterable[str], settings: Settings) -> Html:
    inputs = [_setting(name, getattr(settings, name)) for name in names]
    return el("fieldset", el("legend", title), el("div", inputs, cls="eg-settings"))


def _setting(name: str, value: object) -> Html:
    label, hint = SETTING_HINTS[name]
    default = next(field.default for field in fields(Settings) if field.name == name)
    meant = {**CHOICE_WORDS, **CHOICES_OF.get(name, {})}
    shown = "" if value is None else str(value)
    plain = (
        "on"
        if default is True
        else "off"
        if default is False
        else meant.get(str(default), str(default)).partition(":")[0]
    )
    known = "" if default in (None, "") else f" Default: {plain}."
    common = {"name": name, "aria_describedby": f"eg-h-{name}"}
    fitted = fitted_limit(name) or None
    if isinstance(default, bool):
        control = el("input", type="checkbox", checked=bool(value), data_kind="bool", **common)
    elif words := choices(name):
        control = select([(word, meant[word]) for word in words], shown, data_kind="str", **common)
    elif isinstance(default, str):
        control = el("input", type="text", value=shown, data_kind="str", **common)
    else:
        kind = "int" if isinstance(default, int) else "float"
        control = el(
            "input",
            type="text",
            inputmode="decimal",
            value=shown,
            data_kind=kind,
            placeholder=fitted,
            **common,
        )
    return el(
        "div",
        el("label", el("span", label, cls="eg-field-name"), control),
        el("span", hint + known, " ", el("code", name), cls="eg-note", id=f"eg-h-{name}"),
        cls="eg-setting" + (" eg-tick" if isinstance(default, bool) else ""),
    )
