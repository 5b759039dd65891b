"""HTML of the form that checks pasted texts."""

from __future__ import annotations

from exllama_guard.core.html import Html, el
from exllama_guard.panel.forms import field, submit
from exllama_guard.panel.html import button


def check_form() -> Html:
    """The form that checks pasted texts; nothing in it changes while the page is open."""
    return el(
        "form",
        el("p", "Paste any question, the texts it was answered from, and the answer. No model is needed."),
        _area("question", "Question", 2, "What does the answer reply to?"),
        _area("snippets", "Snippets", 6, "One text after the other, with an empty line between them."),
        _area("answer", "Answer", 4, "The answer to check."),
        el(
            "div",
            submit("Check", primary=True),
            button("Clear", "clear-check"),
            cls="eg-row",
        ),
        data_form="check",
        cls="eg-form",
    )


def _area(name: str, label: str, rows: int, hint: str) -> Html:
    return field(label, el("textarea", name=name, rows=rows), hint)
