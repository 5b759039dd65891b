"""The panel as Gradio components; the only importer of gradio. Works on Gradio 4.37.2 and 6 alike.

A page shows one HTML frame. Its script clicks an invisible button to ask what has changed, often while a
reply streams and every five seconds otherwise, and puts the answer into the frame. No timer, no open stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.context import Context

from exllama_guard.lifecycle import Lifecycle
from exllama_guard.panel.card import Visitor
from exllama_guard.panel.compat import accepted, hidden_event
from exllama_guard.panel.desk import Desk
from exllama_guard.panel.shell import script, shell
from exllama_guard.panel.source import PanelSource, ToolSource
from exllama_guard.probes import ProbeDesk
from exllama_guard.second_reader import SecondReader
from exllama_guard.settings import Settings


def build_panel(
    source: PanelSource,
    *,
    wake_on: Sequence[Any] = (),
    tools: ToolSource | None = None,
    lifecycle: Callable[[], Lifecycle | None] = lambda: None,
    second: Callable[[], SecondReader | None] = lambda: None,
    probes: Callable[[], ProbeDesk | None] = lambda: None,
    keep: Callable[[Settings], str] | None = None,
) -> None:
    """Builds the panel inside the open `gr.Blocks`; `wake_on` are components whose change means news."""
    desk = Desk(source, tools=tools, lifecycle=lifecycle, second=second, probes=probes, keep=keep)

    def answer(message: str, request: gr.Request) -> str:
        return desk.answer(message or "", visitor(request))

    gr.HTML(str(shell()), **accepted(gr.HTML, padding=False, container=False, apply_default_css=False))
    with gr.Column(elem_classes=["eg-off"]):
        for name, taker in (("ask", "take"), ("act", "taken")):
            button = gr.Button(name, elem_id=f"eg-{name}")
            message = gr.Textbox(label=f"guardrails {name}")
            packet = gr.Textbox(label=f"guardrails {name} answer")
            asked = button.click(
                answer,
                [message],
                [packet],
                js="() => window.egGuard.message()",
                api_name=f"guardrails_{name}",
                **hidden_event(button.click),
            )
            asked.then(None, [packet], None, js=f"(text) => window.egGuard.{taker}(text)")
    blocks = Context.root_block
    if blocks is not None:
        blocks.load(None, None, None, js=script())
    for component in wake_on:
        component.change(None, None, None, js="() => { if (window.egGuard) window.egGuard.wake(); }")


def build_notice(sentence: str) -> None:
    """Builds one sentence in the place of the panel, inside the open `gr.Blocks`."""
    gr.Markdown(sentence, elem_id="eg-notice")


def visitor(request: gr.Request | None) -> Visitor:
    """Who sends a request: the login name, where the page has logins, and the browser session."""
    if request is None:
        return Visitor(None, None)
    return Visitor(getattr(request, "username", None), getattr(request, "session_hash", None))
