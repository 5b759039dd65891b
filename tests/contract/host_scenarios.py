"""Runs turns in a host and prints what the extension saw, as JSON: `python host_scenarios.py HOST_DIR`."""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import time
import traceback
import types
from pathlib import Path

from newer_scenarios import NEWER
from probe_scenarios import our_probe, probe_writes, replayed
from scripted_host import ANSWER, CHUNKS, NOTES, PAST, Host, api_state, chat_turn, history


def with_a_system_message(host):
    texts = {"custom_system_message": "You answer in one line.", "context": "You are a butler."}
    host.say("What does the fence do?", host.state(**texts))
    host.say("What does the fence do?", host.state(**texts, mode="chat"))
    host.complete("Question: What does the fence do?\nAnswer:", **texts)


def not_streaming(host):
    said = host.say("What does the fence do?", host.state(stream=False))
    return {"internal": said["internal"][-1]}


def html_answer(host):
    host.model.answer = "Use <b> & not more."
    said = host.say("How?", host.state())
    return {"internal": said["internal"][-1], "visible": said["visible"][-1]}


def regenerate(host):
    old = history(PAST, ["What does the fence do?", "An old answer."], assistant_1={"timestamp": "x"})
    said = host.say("", host.state(history=old), regenerate=True)
    return {"internal": said["internal"][-1]}


def continue_(host):
    old = history(PAST, ["What does the fence do?", "The fence waits"], assistant_1={"timestamp": "x"})
    host.model.answer = " for two equal runs."
    said = host.say("", host.state(history=old), _continue=True)
    return {"internal": said["internal"][-1]}


def stop(host):
    def press(count):
        if count == 2:
            host.shared.stop_everything = True

    said = host.say("What does the fence do?", host.state(), on_step=press)
    return {"internal": said["internal"][-1]}


def disconnect(host):
    said = host.say("What does the fence do?", api_state(host), limit=2)
    lock = host.shared.generation_lock
    free = lock.acquire(timeout=1)
    if free:
        lock.release()
    return {"internal": said["internal"][-1], "lock_free": free}


def api_chat(host):
    said = host.say("What does the fence do?", api_state(host, history=history(PAST)))
    return {"internal": said["internal"][-1]}


def tool_turn(host):
    result = "The fence ran three times and then opened at once."
    calls = [{"id": "c1", "function": {"name": "fence_log", "arguments": "{}"}}]
    sequence = [{"tool_calls": calls}, {"role": "tool", "content": result, "tool_call_id": "c1"}]
    old = history(["How often did the fence run?", ""], assistant_0={"tool_sequence": sequence})
    host.say("", host.state(history=old, _tool_turn=True, _skip_output_extensions=True), regenerate=True)
    return {"result": result, "in_prompt": result in host.model.prompts[-1]}


def api_tool_turn(host):
    result = "The fence ran three times and then opened at once."
    call = {"tool_calls": [{"id": "c1", "function": {"name": "fence_log", "arguments": "{}"}}]}
    rows = ["How often did the fence run?", "Looking.", "", call], ["", "", result, {"tool_call_id": "c1"}]
    host.say("", api_state(host, history=history(*rows)))
    return {"result": result}


def completion(host):
    return {"steps": host.complete("Read this.\n\nQ: What does the fence do?\nA:")}


def notebook_escapes(host):
    host.model.answer = "1 < 2 & 3"
    state = host.state()
    steps = list(
        host.text_generation.generate_reply("Compare.", state, is_chat=False, escape_html=True, for_ui=True)
    )
    return {"last": steps[-1]}


def past_attachment(host):
    attached = [
        {"name": "notes.txt", "type": "text/plain", "content": NOTES},
        {"name": "A page", "type": "text/html", "url": "https://example.org/a", "content": "On fences."},
    ]
    old = history(["Read the notes.", "I did."], user_0={"attachments": attached})
    host.say("What does the fence do?", host.state(history=old))
    return {"in_prompt": NOTES in host.model.prompts[-1]}


def new_attachment(host):
    if not hasattr(host.chat, "add_message_attachment"):
        return {"skipped": "this host takes no files with a message"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "notes.txt")
        path.write_text(NOTES, encoding="utf-8")
        host.say({"text": "What does the fence do?", "files": [str(path)]}, host.state())
    return {"in_prompt": NOTES in host.model.prompts[-1]}


def handed_over(host):
    from exllama_guard import hand_over

    count = hand_over(["The fence waits for two equal runs."], chat_id="chat-1")
    host.say("What does the fence do?", host.state(unique_id="chat-2"))
    host.say("What does the fence do?", host.state())
    host.say("And now?", host.state())
    return {"count": count}


def marked_block(host):
    from exllama_guard.core.snippets import make_snippet
    from exllama_guard.sources.marked_block import format_block

    block = format_block([make_snippet(CHUNKS[0], position=0, section_id="Warm-up", source_url="warm.md")])
    host.say(f"{block}\n\nWhat does the fence do?", host.state())


def injected(host):
    def custom_generate_chat_prompt(user_input, state, **kwargs):
        text = "\nYour reply should be based on the context below:\n\n" + "\n".join(CHUNKS)
        return host.chat.generate_chat_prompt(user_input + text, state, **kwargs)

    module = types.ModuleType("extensions.injecting.script")
    module.custom_generate_chat_prompt = custom_generate_chat_prompt
    package = types.ModuleType("extensions.injecting")
    package.script = module
    sys.modules.update({"extensions.injecting": package, "extensions.injecting.script": module})
    importlib.import_module("extensions").injecting = package
    ours = host.extensions.state["exllama_guardrails"]
    host.extensions.state["injecting"] = [True, 1, module][: len(ours)]
    try:
        host.say("What does the fence do?", host.state(history=history(PAST)))
    finally:
        del host.extensions.state["injecting"]


def no_model(host):
    host.set_model(None)
    try:
        state = host.state()
        steps = list(host.text_generation.generate_reply("Hello", state, is_chat=True, for_ui=True))
    finally:
        host.set_model(host.model)
    return {"steps": steps}


def loader_breaks(host):
    host.model.fails_after = 3
    try:
        host.say("What does the fence do?", host.state())
    except RuntimeError as error:
        return {"raised": str(error)}


def fault_on_open(host):
    host.recorder.broken = {"open"}
    return chat_turn(host)


def fault_on_chunk(host):
    host.recorder.broken = {"chunk"}
    return chat_turn(host)


def switched_off(host):
    host.recorder.enabled = False
    return chat_turn(host)


def unticked(host):
    """As after un-ticking it in the Session tab: the host's list is without it, the wrappers stay."""
    state = dict(host.extensions.state)
    host.extensions.state.clear()
    try:
        return chat_turn(host)
    finally:
        host.extensions.state.update(state)


def unticked_alone(host):
    """As where it was the only extension: the host's own list is empty, its hooks are called all the same."""
    from exllama_guard.core.snippets import make_snippet
    from exllama_guard.host import hooks, webui
    from exllama_guard.host.tools import guard as tool_guard
    from exllama_guard.settings import Settings
    from exllama_guard.sources.marked_block import format_block

    block = format_block([make_snippet(CHUNKS[0], position=0)])
    told = {}
    for name, ticked in (
        ("none", None),
        ("empty", []),
        ("others", ["gallery"]),
        ("ours", ["exllama_guardrails"]),
    ):
        host.shared.args.extensions = ticked
        mode = tool_guard.ToolGuard(Settings).mode()
        said = host.say("What does it do?", host.state(history=history([f"{block}\n\nOld?", "Old."], PAST)))
        told[name] = {
            "on": [webui.is_switched_on(), hooks._active() is not None, mode is not tool_guard.LockMode.OFF],
            "hooks_called": host.extensions.state["exllama_guardrails"][0],
            "block_in_prompt": CHUNKS[0] in host.model.prompts[-1],
            "answer": said["internal"][-1][1],
        }
    return told


def page_errand(host):
    """A search query or an impersonation: generated by the page, answered to nobody."""
    return {"steps": list(host.text_generation.generate_reply("Query?", host.state(), is_chat=True))}


def set_up_again(host):
    start = importlib.import_module("exllama_guard.host.start")
    before = host.text_generation._generate_reply
    start.setup({})
    return {**chat_turn(host), "same": host.text_generation._generate_reply is before}


def model_events(host):
    host.recorder.models.clear()
    host.set_model(None)
    time.sleep(0.5)
    host.set_model(host.model)
    time.sleep(0.5)
    return {"models": host.recorder.models}


def uninstall(host):
    start = importlib.import_module("exllama_guard.host.start")
    left = start.uninstall()
    names = ("_generate_reply", "generate_reply_HF", "generate_reply_custom")
    ours = [n for n in names if hasattr(getattr(host.text_generation, n, None), "_exllama_guard_original")]
    said = chat_turn(host)
    return {"left": left, "still_ours": ours, "class": type(host.shared).__name__, **said}


SCENARIOS = (
    chat_turn, with_a_system_message, not_streaming, html_answer, regenerate, continue_, stop, disconnect,
    api_chat, tool_turn,
    api_tool_turn, completion, notebook_escapes, past_attachment, new_attachment, handed_over,
    marked_block, injected, no_model, loader_breaks, fault_on_open, fault_on_chunk, switched_off,
    unticked, unticked_alone, our_probe, probe_writes, replayed, page_errand, *NEWER, set_up_again,
    model_events, uninstall,
)  # fmt: skip


def main():
    sys.stdout, out = sys.stderr, sys.stdout  # the host prints; our result stands alone
    host = Host(Path(sys.argv[1]).resolve())
    results = {}
    for scenario in SCENARIOS:
        recorder, host.model.answer, host.model.fails_after = host.recorder, ANSWER, None
        recorder.turns, recorder.problems, recorder.broken, recorder.enabled = [], [], set(), True
        host.shared.stop_everything = False
        try:
            result = {"result": scenario(host) or {}}
        except Exception:  # noqa: BLE001 - the test shows it
            result = {"error": traceback.format_exc()}
        results[scenario.__name__] = {**result, "turns": recorder.turns, "problems": recorder.problems}
    print(json.dumps(results), file=out)


if __name__ == "__main__":
    main()
