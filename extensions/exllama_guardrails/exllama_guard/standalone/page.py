"""The stand-in's page: a chat on the left, the extension's own panel on the right, a Session tab."""

from __future__ import annotations

import copy
import html
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gradio as gr
from modules import chat, extensions, shared
from modules.text_generation import stop_everything_event

from exllama_guard.sources import SUFFIXES
from exllama_guard.standalone.loading import ModelLoading
from exllama_guard.standalone.places import DOCUMENTS

__all__ = ["EXAMPLES", "Page", "build_page"]

EXAMPLES = (
    "After how many tokens is the KV cache rotated by default?",
    "When was the Harbour Library's assistant set up?",
    "Which version of TextGen WebUI removed the ExLlamaV2 loaders?",
    "After how many seconds is a canary reported as a hang?",  # the small model says 2, the documents 120
)

_GRADIO = int(version("gradio").split(".")[0])
_MOST_NAMED = 9  # documents in the welcome
# The panel is what this page is for: it is open until its reader folds it.
_HEAD = (
    "<script>try { if (sessionStorage.getItem('eg-open') === null) sessionStorage.setItem('eg-open', '1'); }"
    " catch { /* storage is closed to this page */ }"
    " setInterval(() => { const ask = document.querySelector('#model-ask');"
    " if (ask && !document.hidden && document.querySelector('#model-line .busy')) ask.click(); }, 1000);"
    "</script>"
)
_RELOAD = "() => { setTimeout(() => location.reload(), 2500); }"


@dataclass(frozen=True, slots=True)
class Page:
    """The built page and what `launch` must be given with it (Gradio 6 styles there, Gradio 4 in Blocks)."""

    blocks: gr.Blocks
    launch_options: dict[str, Any]


def build_page(loading: ModelLoading) -> Page:
    """The page, with the panels of every extension that is switched on."""
    style: dict[str, Any] = {
        "theme": gr.themes.Soft(
            primary_hue="indigo",
            font=["system-ui", "Segoe UI", "Roboto", "sans-serif"],
            font_mono=["ui-monospace", "Consolas", "monospace"],
        ),
        "css": Path(__file__).with_name("page.css").read_text(encoding="utf-8")
        + extensions.apply_extensions("css"),
        "head": _HEAD,
    }
    in_blocks, in_launch = ({"fill_width": True}, style) if _GRADIO >= 6 else (style, {})
    shared.gradio.clear()
    with _Blocks(title="ExLlama Guardrails", analytics_enabled=False, **in_blocks) as blocks:
        _top(loading)
        with gr.Tabs():
            with gr.Tab("Chat"), gr.Row(equal_height=False):
                with gr.Column(scale=6, min_width=380):
                    _chat(loading)
                with gr.Column(scale=5, min_width=340):
                    extensions.create_extensions_block()
            extensions.create_extensions_tabs()
            with gr.Tab("Session"):
                _session()
    shared.gradio["interface"] = blocks
    return Page(blocks, in_launch)


class _Blocks(gr.Blocks):
    """Blocks whose page holds no connection: a browser allows six for all tabs of one address.

    Gradio's heartbeat would hold one a tab, only to forget a session's values sooner after its tab is closed.
    """

    def get_config_file(self) -> Any:  # noqa: ANN401 - Gradio's, whose type has another name in each version
        config = super().get_config_file()
        config["connect_heartbeat"] = False
        return config


def _welcome() -> str:
    """What an empty chat says: which documents there are, and what happens with them."""
    folder = _folder()
    names = documents_in(folder) if folder is not None else []
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    listed = html.escape(", ".join(names[:_MOST_NAMED]) + more)
    where = f"<p>In {html.escape(folder.name)}: {listed}.</p>" if folder is not None and names else ""
    return (
        f'<div class="chat-scroll"><div class="welcome"><b>Ask the documents</b>{where}'
        "<p>The passages that fit best go to the model. While it answers, the panel shows which of its "
        "sentences they support.</p></div></div>"
    )


def _folder() -> Path | None:
    """The folder of documents that the page was started with."""
    named = shared.settings.get("exllama_guardrails-knowledge_folder")
    return Path(str(named)).expanduser().resolve() if named else None


def documents_in(folder: Path) -> list[str]:
    """Names of the documents that lie in `folder` itself, sorted; [] where it cannot be read."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    return [path.name for path in entries if path.suffix.lower() in SUFFIXES and path.is_file()]


def _top(loading: ModelLoading) -> None:
    with gr.Row(elem_id="top"):
        small = (
            " with a very small model: to see the panel at work, not to chat." if loading.is_small else "."
        )
        gr.HTML(
            f"<h1>ExLlama Guardrails</h1><p>A stand-in for TextGen WebUI{small}</p>",
            elem_id="title",
        )
        line = gr.HTML(lambda: _model_line(loading), elem_id="model-line")
        # Asked by the page's script while the model loads; Gradio's timer would hold a connection for good.
        asked = gr.Button("Model", elem_id="model-ask")
        asked.click(lambda: _model_line(loading), None, line, queue=False, show_progress="hidden")


def _model_line(loading: ModelLoading) -> str:
    stage = loading.stage
    text = html.escape(stage.text)
    if stage.failed:
        return f'<div class="model-line" role="alert"><span class="dot bad"></span><b>{text}</b></div>'
    if stage.ready:
        return f'<div class="model-line"><span class="dot ready"></span><b>{text}</b> ready</div>'
    return (
        '<div class="model-line" role="status"><span class="dot busy"></span>'
        f'{text} · {stage.elapsed_s:.0f} s<span class="bar"><i></i></span></div>'
    )


def _hidden(component: type[Any], value: object) -> Any:  # noqa: ANN401 - whichever component was asked for
    # An invisible component is not in the page from Gradio 5 on and its change event never comes.
    return component(value=value, visible="hidden" if _GRADIO >= 6 else False)


def _chat(loading: ModelLoading) -> None:
    shared.gradio["history"] = gr.State(chat.empty_history())
    shared.gradio["display"] = _hidden(gr.JSON, {})
    shared.gradio["html_display"] = gr.HTML(_welcome, elem_id="chat")
    with gr.Row(elem_id="examples"):
        shown = EXAMPLES if _folder() == DOCUMENTS else ()  # they ask about the documents that are shipped
        examples = [gr.Button(text, size="sm", elem_classes="example") for text in shown]
    with gr.Row(elem_id="ask"):
        shared.gradio["textbox"] = gr.Textbox(
            placeholder="Ask the documents …",
            label="Question",
            show_label=False,
            container=False,
            max_lines=6,
            scale=8,
            elem_id="question",
        )
        shared.gradio["Generate"] = gr.Button(
            "Send", variant="primary", scale=1, min_width=80, elem_id="send"
        )
        shared.gradio["Stop"] = gr.Button("Stop", scale=1, min_width=70, elem_id="stop")
    with gr.Row(elem_id="turn-buttons"):
        for name in ("Regenerate", "Continue", "New chat"):
            shared.gradio[name] = gr.Button(name, size="sm", elem_id=name.lower().replace(" ", "-"))
    with gr.Accordion("Generation settings", open=False), gr.Row():
        shared.gradio["temperature"] = gr.Slider(
            0,
            1.5,
            shared.settings["temperature"],
            step=0.05,
            label="Temperature (0: the same answer each time)",
        )
        shared.gradio["max_new_tokens"] = gr.Slider(
            16, 1024, shared.settings["max_new_tokens"], step=16, label="Most tokens in a reply"
        )
        shared.gradio["seed"] = gr.Number(shared.settings["seed"], precision=0, label="Seed (-1: random)")
        shared.gradio["custom_system_message"] = gr.Textbox(
            shared.settings["custom_system_message"], label="System message", lines=2
        )
    _wire(examples, loading)


def _settings() -> list[Any]:
    names = ("temperature", "max_new_tokens", "seed", "custom_system_message")
    return [shared.gradio[name] for name in names]


def _state(history: chat.History, temperature: float, tokens: float, seed: float, system: str) -> chat.State:
    state = copy.deepcopy(shared.settings)
    state.update(
        history=history,
        temperature=float(temperature),
        max_new_tokens=int(tokens),
        seed=int(seed if seed is not None else -1),
        custom_system_message=system or "",
        do_sample=float(temperature) > 0,
        unique_id=_chat_id(history),
    )
    return state


def _chat_id(history: chat.History) -> str:
    """The chat's own id, made with its first message; *New chat* starts another."""
    about = history.setdefault("metadata", {}).setdefault("chat", {"id": uuid.uuid4().hex})
    return str(about["id"])


def _turn(text: str, history: chat.History, *values: Any, **kind: bool) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - from the page
    if shared.model is None:
        gr.Warning("The model is still loading. Send it again in a moment.")
        yield {}, history, gr.update()
        return
    for display, changed in chat.generate_chat_reply_wrapper(text, _state(history, *values), **kind):
        yield display, changed, display["html"]


def _send(text: str, history: chat.History, *values: Any) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
    if text.strip():
        yield from _turn(text, history, *values)


def _regenerate(history: chat.History, *values: Any) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
    yield from _turn("", history, *values, regenerate=True)


def _continue(history: chat.History, *values: Any) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
    yield from _turn("", history, *values, _continue=True)


def _wire(examples: list[gr.Button], loading: ModelLoading) -> None:
    box, history = shared.gradio["textbox"], shared.gradio["history"]
    asked = gr.State("")
    shown = [shared.gradio[name] for name in ("display", "history", "html_display")]
    quiet: dict[str, Any] = {"show_progress": "hidden"}

    def taken_or_warn(text: str) -> tuple[str, str]:
        """(what stays in the box, what is asked): a question sent before all is ready is not lost."""
        if loading.stage.ready:
            return "", text
        if text.strip():
            gr.Warning("Not ready yet, see above; your question stays in the box. Send it in a moment.")
        return text, ""

    def on(trigger: Any, source: gr.Textbox | gr.Button, fresh: bool = False) -> None:  # noqa: ANN401 - Gradio's listener
        taken = trigger(taken_or_warn, source, [box, asked], **quiet)
        if fresh:
            taken = taken.then(chat.empty_history, None, history, **quiet)
        taken.then(_send, [asked, history, *_settings()], shown, **quiet)

    for button in (shared.gradio["Generate"].click, box.submit):
        on(button, box)
    for button in examples:  # each in a chat of its own: a model this small mixes up earlier turns
        on(button.click, button, fresh=True)
    shared.gradio["Regenerate"].click(_regenerate, [history, *_settings()], shown, **quiet)
    shared.gradio["Continue"].click(_continue, [history, *_settings()], shown, **quiet)
    shared.gradio["Stop"].click(stop_everything_event, None, None, queue=False)
    shared.gradio["New chat"].click(lambda: ({}, chat.empty_history(), _welcome()), None, shown, **quiet)


def _session() -> None:
    gr.Markdown("Extensions of this folder. As in the WebUI, a change takes effect with *Apply and restart*.")
    shared.gradio["extensions_menu"] = gr.CheckboxGroup(
        choices=extensions.available_extensions,
        value=list(shared.args.extensions),
        label="Available extensions",
    )
    shared.gradio["reset_interface"] = gr.Button("Apply and restart", elem_id="apply")
    shared.gradio["reset_interface"].click(_restart, shared.gradio["extensions_menu"], None).then(
        None, None, None, js=_RELOAD
    )


def _restart(names: list[str]) -> None:
    shared.args.extensions = names
    shared.need_restart = True
