"""Turns for what changed in WebUI 4.8 and 4.9, run on every host: host_scenarios.py prints what was seen."""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import types
from contextlib import contextmanager
from pathlib import Path

from newer_texts import CHUNK, HITS, LINES, PAGE, THOUGHT
from scripted_host import PAST, history

THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m.get('reasoning_content') %}<think> {{ m['reasoning_content'] }} </think>\n{% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)


@contextmanager
def _quiet(host):
    """The page's own function without its files and its HTML."""
    names = {"save_history": lambda *args: None, "chat_html_wrapper": lambda *args, **kwargs: ""}
    before = {name: getattr(host.chat, name) for name in names if hasattr(host.chat, name)}
    for name in before:
        setattr(host.chat, name, names[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(host.chat, name, value)


@contextmanager
def another_extension(host, **hooks):
    """Another extension that may change prompts, switched on; without hooks given it changes none."""
    module = types.ModuleType("extensions.looking.script")
    for name, hook in (hooks or {"state_modifier": lambda state: state}).items():
        setattr(module, name, hook)
    package = types.ModuleType("extensions.looking")
    package.script = module
    sys.modules.update({"extensions.looking": package, "extensions.looking.script": module})
    importlib.import_module("extensions").looking = package
    ours = host.extensions.state["exllama_guardrails"]
    host.extensions.state["looking"] = [True, 1, module][: len(ours)]
    try:
        yield
    finally:
        del host.extensions.state["looking"]


def another_chat_in_view(host):
    """A reader goes to another chat while the reply is written: the page is not redrawn, the turn goes on."""
    from exllama_guard import hand_over

    hand_over(["The cache is rotated after 8192 tokens."], chat_id="chat-2")
    state = host.state(history=history(PAST), start_with="", chat_style="cai-chat", selected_tools=[])
    known = hasattr(host.chat, "set_viewing_unique_id")
    drawn, last = 0, None
    with _quiet(host):
        for _, shown in host.chat.generate_chat_reply_wrapper("What does the fence do?", state):
            drawn, last = drawn + 1, shown
            if known and drawn == 2:
                host.chat.set_viewing_unique_id("chat-2")
        host.say("And the cache?", host.state(unique_id="chat-2"))
    return {"knows_the_view": known, "drawn": drawn, "internal": last["internal"][-1]}


def _tool_state(host, **item):
    result = "The fence ran three times and then opened at once."
    calls = [{"id": "c1", "function": {"name": "fence_log", "arguments": "{}"}}]
    sequence = [
        {"tool_calls": calls, **item},
        {"role": "tool", "content": result, "tool_call_id": "c1"},
    ]
    old = history(["How often did the fence run?", ""], assistant_0={"tool_sequence": sequence})
    return host.state(
        history=old, _tool_turn=True, _skip_output_extensions=True, instruction_template_str=THINKING
    )


def thinking_across_tools(host):
    """4.9 keeps what a model thought before a tool call and gives it to the next turn's prompt."""
    said = "First I look into the log of the fence, because it knows how often it ran."
    with another_extension(host):
        host.say("", _tool_state(host, reasoning_content=THOUGHT, content=said), regenerate=True)
    prompt = host.model.prompts[-1]
    return {"thought_in_prompt": THOUGHT in prompt, "said_in_prompt": said in prompt}


def thinking_of_an_earlier_answer(host):
    """A template writes thinking and answer of an earlier message apart from each other."""
    old = history(
        ["What is a fence?", f"<think>\n{THOUGHT}\n</think>\n\nA fence is a wait until runs are equal."]
    )
    with another_extension(host):
        host.say("And then?", host.state(history=old, instruction_template_str=THINKING))
    return {"thought_in_prompt": THOUGHT in host.model.prompts[-1]}


def continue_after_thinking(host):
    """Continue of an answer that began with its thinking, which the template opens itself."""
    begun = f"<think>\n{THOUGHT}\n</think>\n\nThe fence waits"
    old = history(PAST, ["What does the fence do?", begun], assistant_1={"timestamp": "x"})
    host.model.answer = " for two equal runs."
    state = host.state(history=old, instruction_template_str=THINKING)
    said = host.say("", state, _continue=True)
    return {"begun": begun, "internal": said["internal"][-1][1]}


def web_hits_of_a_tool(host):
    """4.9's web search tool: a list of hits, each with title, address and a short text."""
    calls = [{"id": "c1", "function": {"name": "web_search", "arguments": '{"query": "fence"}'}}]
    result = json.dumps(HITS)
    sequence = [{"tool_calls": calls}, {"role": "tool", "content": result, "tool_call_id": "c1"}]
    old = history(["What does the fence do?", ""], assistant_0={"tool_sequence": sequence})
    host.say("", host.state(history=old, _tool_turn=True, _skip_output_extensions=True), regenerate=True)
    return {"in_prompt": result in host.model.prompts[-1]}


def web_search_of_the_page(host):
    """The page's own search, its two requests to the network replaced."""
    try:
        search = importlib.import_module("modules.web_search")
    except ModuleNotFoundError:
        return {"skipped": "this host has no web search"}
    if not hasattr(search, "DDGS"):
        return {"skipped": "this host reads its hits from a page of HTML"}

    class Hits:
        def text(self, query, **kwargs):
            return [{"title": hit["title"], "href": hit["url"], "body": hit["snippet"]} for hit in HITS]

    before = search.DDGS, search.download_web_page
    search.DDGS, search.download_web_page = Hits, lambda url, *args, **kwargs: PAGE if "fences" in url else ""
    host.model.tokenizer_length = len
    try:
        state = host.state(enable_web_search=True, web_search_pages=3)
        host.say("What does the fence do?", state)
    finally:
        search.DDGS, search.download_web_page = before
    return {"in_prompt": PAGE in host.model.prompts[-1]}


def session_tab(host):
    """Un-ticked and ticked again by the Session tab's own function."""
    try:
        session = importlib.import_module("modules.ui_session")
    except ModuleNotFoundError:
        return {"skipped": "this host has no Session tab"}
    from exllama_guard.host import webui

    on = session.get_boolean_arguments(active=True)
    told = []
    for ticked in ([], ["gallery"], ["exllama_guardrails"]):
        session.set_interface_arguments(ticked, on)
        told.append(webui.is_switched_on())
    host.shared.need_restart = False
    return {"told": told}


def tokens_shown_live(host):
    """4.9 shows tokens a second beside the chat, by attributes of the loaded model."""
    if not hasattr(host.chat, "update_token_display_from_state"):
        return {"skipped": "this host shows no tokens a second"}
    shown = []

    def look(count):
        host.model.last_prompt_token_count, host.model.last_completion_token_count = 100, count
        shown.append(str(host.chat.update_token_display_from_state(state)))

    state = host.state(history=history(PAST))
    said = host.say("What does the fence do?", state, on_step=look)
    return {"shown": shown[-1], "internal": said["internal"][-1][1]}


def _write_pdf(path, lines):
    import pymupdf

    document = pymupdf.open()
    page = document.new_page()
    for number, line in enumerate(lines):
        page.insert_text((72, 72 + 20 * number), line)
    document.save(path)


def _write_docx(path, lines):
    import docx

    document = docx.Document()
    for line in lines:
        document.add_paragraph(line)
    document.save(path)


def _write_text(path, lines):
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


FILES = {
    "notes.txt": (_write_text, LINES),
    "notes.md": (_write_text, ("# Fence", "", *LINES)),
    "notes.csv": (_write_text, ("part,says", *(f"{n},{line}" for n, line in enumerate(LINES)))),
    "notes.html": (_write_text, ("<html><body>", *(f"<p>{line}</p>" for line in LINES), "</body></html>")),
    "notes.pdf": (_write_pdf, LINES),
    "notes.docx": (_write_docx, LINES),
}


def files_of_every_kind(host):
    """Files of six kinds, each sent with a message of its own as the page does it."""
    if not hasattr(host.chat, "add_message_attachment"):
        return {"skipped": "this host takes no files with a message"}
    sent = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (write, lines) in FILES.items():
            path = Path(folder, name)
            try:
                write(path, lines)
            except ModuleNotFoundError:
                continue  # 3.23 has no writer of PDF files
            host.say({"text": "What does the fence do?", "files": [str(path)]}, host.state())
            sent.append(name)
    return {"sent": sent}


CARD = (
    "{{char}} is a patient librarian of a small harbour town. {{user}} asks {{char}} about the sea each "
    "evening.\n\n{{char}} likes short sentences, old maps and strong tea, and never speaks of the weather."
)
COMMAND = (
    'Continue the chat dialogue below. Write a single reply for the character "<|character|>". '
    "Reply directly, without starting the reply with the character name.\n\n<|prompt|>"
)
FORMS = {  # superbooga; superboogav2 with its three strategies; its own settings for prefix and separator
    "superbooga": lambda asked: f"{asked}\nYour reply should be based on the context below:\n\n{CHUNK}",
    "append": lambda asked: f"{asked}\n\n<<document chunk>>\n\n{CHUNK}\n\n<<document end>>\n\n",
    "prepend": lambda asked: f"\n\n<<document chunk>>\n\n{CHUNK}\n\n<<document end>>\n\n{asked}",
}


def chunks_in_every_mode(host):
    """superbooga's and superboogav2's forms in each mode, beside a character card and the host's command."""
    told = {}
    changes = {"context": CARD, "name2": "Mara", "name1": "Jo", "chat-instruct_command": COMMAND}
    for mode in ("instruct", "chat", "chat-instruct"):
        for name, form in {"nothing": lambda asked: asked, **FORMS}.items():

            def custom_generate_chat_prompt(user_input, state, form=form, **kwargs):
                return host.chat.generate_chat_prompt(form(user_input), state, **kwargs)

            with another_extension(host, custom_generate_chat_prompt=custom_generate_chat_prompt):
                host.say("What does the fence do?", host.state(mode=mode, history=history(PAST), **changes))
            told[f"{mode} {name}"] = [
                CHUNK in host.model.prompts[-1],
                "Mara is a patient" in host.model.prompts[-1],
            ]
    return {"told": told}


NEWER = (
    another_chat_in_view, thinking_across_tools, thinking_of_an_earlier_answer, continue_after_thinking,
    web_hits_of_a_tool, web_search_of_the_page, session_tab, tokens_shown_live, files_of_every_kind,
    chunks_in_every_mode,
)  # fmt: skip
