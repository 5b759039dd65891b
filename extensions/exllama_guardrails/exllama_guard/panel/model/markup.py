"""HTML of the Model tab: what is loaded, how warm it is, its cache, and what its loader allows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from exllama_guard.core.html import Html, el, join
from exllama_guard.core.turns import ModelInfo
from exllama_guard.monitor import Event
from exllama_guard.panel.forms import select, submit
from exllama_guard.panel.html import badge, button, empty
from exllama_guard.panel.model.rows import Bar, ModelRow, ModelRows

DRIFT_LENGTHS = (1024, 2048, 4096, 8192, 16384)
_EVENT_KINDS = frozenset({"model", "warm-up", "cache", "drift"})
_EVENTS_SHOWN = 12


def model(rows: ModelRows | None, info: ModelInfo | None, embedder: str) -> Html:
    """The loaded model, how warm it is, and the embedder that measures ΔS."""
    measures = ModelRow("Embedder", embedder if embedder != "none" else "loads with the first check")
    if info is None:
        missing = empty(
            "No model loaded", "Load one on the Model page. Pasted texts can be checked without a model."
        )
        return join(missing, about((measures,)))
    if rows is None or not (rows.facts or rows.speed):
        state = el("p", badge(rows.state, rows.tone), " ", rows.status, cls="eg-state") if rows else None
        return join(el("p", info.name, cls="eg-question"), state, about((*_in_words(info), measures)))
    return join(
        el("p", rows.title, cls="eg-question"),
        el("p", badge(rows.state, rows.tone), " ", rows.status, cls="eg-state"),
        el(
            "div",
            el("section", el("h4", "Loaded"), about((*rows.facts, measures))),
            el("section", el("h4", "Warm-up"), about(rows.speed)) if rows.speed else None,
            cls="eg-pair",
        ),
    )


def _in_words(info: ModelInfo) -> tuple[ModelRow, ...]:
    """What the host itself says of the model, where its files were not read."""
    unknown = "not told by the loader"
    return (
        ModelRow("Loader", info.loader),
        ModelRow("Weights", info.quantisation or unknown),
        ModelRow("Cache type", info.cache_type or unknown),
        ModelRow("Context", f"{info.context_tokens} tokens" if info.context_tokens else unknown),
    )


def cache(rows: ModelRows | None) -> Html:
    """Tokens since the last reset as a bar, the last rotation, and the drift that was measured."""
    if rows is None or not rows.facts:
        return Html("")
    return join(el("h4", "KV cache"), bar(rows.cache_bar, "Tokens since the last reset"), about(rows.cache))


def drift(rows: ModelRows | None) -> Html:
    """The form that starts a drift measurement, or how far the running one is."""
    if rows is None or not rows.facts:
        return Html("")
    if rows.drift_bar is not None:
        return el(
            "div",
            bar(rows.drift_bar, "Drift measurement"),
            button("Cancel", "cancel-drift"),
            cls="eg-running",
        )
    return el(
        "form",
        el(
            "p",
            "Does a long run change what the model writes? This fills the cache step by step and compares "
            "the same greedy text each time. Replies come first; it takes minutes on a slow machine.",
            cls="eg-note",
        ),
        el(
            "div",
            el(
                "label",
                el("span", "Up to", cls="eg-label"),
                select(
                    [(str(length), f"{length} tokens") for length in DRIFT_LENGTHS],
                    "",
                    name="max_tokens",
                    data_kind="int",
                ),
            ),
            submit("Measure drift"),
            cls="eg-row",
        ),
        data_form="drift",
        cls="eg-form",
    )


def loader(rows: ModelRows | None, capabilities: Sequence[str], events: Iterable[Event]) -> Html:
    """What the loader allows, and what happened to the model, newest first."""
    can = rows.can if rows is not None and rows.can else tuple(capabilities)
    shown_words = [event for event in events if event.kind in _EVENT_KINDS][-_EVENTS_SHOWN:]
    return join(
        join(el("h4", "What this loader allows"), el("ul", [el("li", text) for text in can]))
        if can
        else None,
        join(
            el("h4", "What happened"),
            el("ul", [_event(each) for each in reversed(shown_words)], cls="eg-log"),
        )
        if shown_words
        else None,
    )


def _event(event: Event) -> Html:
    at = time.strftime("%H:%M:%S", time.localtime(event.at_s))
    return el("li", el("span", at, cls="eg-note eg-num"), el("span", event.text))


def about(rows: Sequence[ModelRow]) -> Html:
    """Lines of name and value."""
    if not rows:
        return Html("")
    return el(
        "dl",
        [
            el(
                "div",
                el("dt", row.name),
                el("dd", row.value, el("div", row.explanation, cls="eg-note") if row.explanation else None),
            )
            for row in rows
        ],
        cls="eg-about",
    )


def bar(row: Bar, label: str) -> Html:
    """A bar with its words, or the words alone where it is off."""
    if row.share is None:
        return el("p", row.text, cls="eg-note")
    percent = f"{row.share:.1%}"
    return el(
        "div",
        el(
            "div",
            el("i", style=f"width:{percent}"),
            cls="eg-fill",
            role="progressbar",
            aria_label=label,
            aria_valuemin=0,
            aria_valuemax=100,
            aria_valuenow=round(row.share * 100),
        ),
        el("span", row.text, cls="eg-note eg-num"),
        cls="eg-meter",
    )
