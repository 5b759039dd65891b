"""Runs turns inside a host and prints what the extension saw, as JSON: `python host_scenarios.py HOST_DIR`.

A program of its own, because a host's `modules` and its Python belong to one process. The host's own code
makes the prompt, calls the hooks and streams; only the model's words are written down here.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import json
import os
import sys
import tempfile
import threading
import time
import traceback
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ANSWER = "The fence waits for two equal runs. Then it opens."
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NOTES = "The warm-up fence runs ten tokens.\n\nTitle\n=====\nIt is repeated until two ratios agree."
CHUNKS = (
    "A warm-up fence repeats a dummy batch until two ratios lie between 0.8 and 1.25.",
    "A cache rotation happens after 8192 tokens when no other job is running at that time.",
)
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}


class LlamaServer:
    """Stands in for a loaded model where the host drives a loader of its own (class name as the host's)."""

    def __init__(self):
        self.answer = ANSWER
        self.prompts = []
        self.fails_after = None
        self.n_ctx = 8192
        self.last_prompt_token_count = 0

    def generate_with_streaming(self, prompt, state):
        self.prompts.append(prompt)
        text = ""
        for count, word in enumerate(self.answer.split(" ")):
            if self.fails_after is not None and count >= self.fails_after:
                raise RuntimeError("the loader broke")
            time.sleep(0.002)  # the host drops steps that come faster than 1 ms
            text += word if not text else " " + word
            yield text

    def generate(self, prompt, state):
        return list(self.generate_with_streaming(prompt, state))[-1]

    def prepare_payload(self, state):
        return {}

    chat_template = ""

    def apply_chat_template(self, messages, *, chat_template, add_generation_prompt, **rest):
        from jinja2 import Template

        text = Template(chat_template).render(messages=messages, add_generation_prompt=add_generation_prompt)
        return text.removesuffix("<|im_end|>\n") if rest.get("continue_final_message") else text

    def encode(self, text, **_):
        return list(range(max(1, len(text) // 4)))


class Handle:
    """Keeps what an open turn is told."""

    def __init__(self, recorder, request, collect):
        self.recorder, self.request, self.collect = recorder, request, collect
        self.chunks = []

    def chunk(self, text):
        if "chunk" in self.recorder.broken:
            raise ValueError("broken on purpose")
        self.chunks.append(text)

    def close(self, text, finish):
        request = self.request
        snippets = self.collect()
        self.recorder.turns.append(
            {
                "question": request.question,
                "prompt": request.prompt,
                "answer": text,
                "finish": finish.value,
                "channel": request.channel.value,
                "chunks": self.chunks,
                "prefix": request.answer_prefix,
                "regenerate": request.regenerate,
                "tool_turn": request.tool_turn,
                "system": request.system_prompt,
                "chat_id": request.chat_id,
                "model": request.model.name if request.model else None,
                "loader": request.model.loader if request.model else None,
                "snippets": [[s.origin.value, s.section_id, s.source_url, s.text] for s in snippets],
            }
        )


class Recorder:
    """A monitor that keeps everything."""

    def __init__(self):
        from exllama_guard.settings import Settings

        self.settings = Settings()
        self.enabled = True
        self.multi_user = False
        self.knowledge = None
        self.model = None
        self.turns, self.problems, self.models = [], [], []
        self.broken = set()

    def open_turn(self, request, collect=None):
        if "open" in self.broken:
            raise ValueError("broken on purpose")
        return Handle(self, request, collect or (lambda: ()))

    def report_problem(self, sentence, key):
        if key != "counting":  # the scripted model has no server that could count tokens
            self.problems.append(sentence)

    def record_event(self, kind, text):
        pass

    def clear_problem(self, key):
        pass

    def model_changed(self, model, capabilities=()):
        self.models.append(model.name if model else None)

    def reader_for(self, username, session):
        from exllama_guard.core.records import Reader

        return Reader(username, session)

    def replace_settings(self, settings):
        self.settings = dataclasses.replace(settings, warmup=False)  # a warm-up is not what is looked at here

    def warm(self):
        pass


class Host:
    """The host's modules with the extension loaded by the host's own loader."""

    def __init__(self, folder):
        sys.dont_write_bytecode = True
        sys.argv = ["server.py"]
        os.chdir(folder)
        sys.path[:0] = [str(folder), str(ROOT)]
        sys.path.append(str(ROOT / "extensions" / "exllama_guardrails"))
        self.shared = importlib.import_module("modules.shared")
        self.extensions = importlib.import_module("modules.extensions")
        if not hasattr(self.shared, "user_data_dir"):
            importlib.import_module("modules.ui")  # 3.23 imports in a circle; the server starts here too
        self.text_generation = importlib.import_module("modules.text_generation")
        self.chat = importlib.import_module("modules.chat")
        if not hasattr(self.text_generation, "generate_reply_custom"):
            self.script_the_embedded_host()
        self.shared.generation_lock = threading.Lock()
        self.recorder = self.load()
        self.model = LlamaServer()
        self.set_model(self.model)

    def script_the_embedded_host(self):
        """The embedded host knows one loader, so its generation and tokens are replaced, nothing else."""

        def generate_reply_HF(question, original_question, state, stopping_strings=None, is_chat=False):
            yield from self.shared.model.generate_with_streaming(question, state)

        self.text_generation.generate_reply_HF = generate_reply_HF
        self.text_generation.encode = lambda text, *_, **__: types.SimpleNamespace(shape=(1, len(text) // 4))

    def load(self):
        monitor = importlib.import_module("exllama_guard.monitor.main")
        monitor._monitor = recorder = Recorder()
        self.shared.args.extensions = ["exllama_guardrails"]
        self.extensions.available_extensions[:] = ["exllama_guardrails"]
        self.extensions.load_extensions()
        assert "exllama_guardrails" in self.extensions.state, "the host did not load the extension"
        return recorder

    def set_model(self, model):
        self.shared.model = model
        self.shared.tokenizer = model
        self.shared.model_name = "scripted-Q4_K_M" if model else "None"
        self.shared.args.loader = "llama.cpp"

    def state(self, **changes):
        return {
            "mode": "instruct", "stream": True, "seed": 1, "max_tokens_second": 0, "max_new_tokens": 64,
            "truncation_length": 8192, "auto_max_new_tokens": False, "custom_stopping_strings": [],
            "name1": "You", "name2": "AI", "context": "", "user_bio": "", "custom_system_message": "",
            "instruction_template_str": TEMPLATE, "chat_template_str": TEMPLATE, "greeting": "",
            "chat-instruct_command": "", "enable_thinking": False, "reasoning_effort": "low",
            "preserve_thinking": False, "start_with": "", "character_menu": "Assistant",
            "skip_special_tokens": True, "temperature": 0.0, "unique_id": "chat-1",
            "history": {"internal": [], "visible": [], "metadata": {}}, **changes,
        }  # fmt: skip

    def say(self, text, state, limit=None, on_step=None, **kwargs):
        """The host's own chat turn; the last history that it gave."""
        last = None
        kwargs.setdefault("for_ui", "unique_id" in state)
        steps = self.chat.generate_chat_reply(text, state, loading_message=False, **kwargs)
        for count, history in enumerate(steps):
            last = copy.deepcopy(history)
            if on_step is not None:
                on_step(count)
            if limit is not None and count >= limit:
                steps.close()
                break
        return last

    def complete(self, prompt, **changes):
        state = self.state(**changes)
        for key in ("unique_id", "history", "mode"):
            state.pop(key)
        return list(self.text_generation.generate_reply(prompt, state, is_chat=False))


def history(*rows, **metadata):
    return {"internal": [list(r) for r in rows], "visible": [list(r) for r in rows], "metadata": metadata}


PAST = ["What is a fence?", "A fence is a wait."]


def chat_turn(host):
    said = host.say("What does the fence do?", host.state(history=history(PAST)))
    return {"internal": said["internal"][-1], "visible": said["visible"][-1]}


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


def api_state(host, **changes):
    state = host.state(**changes)
    state.pop("unique_id")
    return state


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
    from exllama_guard.core.records import make_snippet
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
    from exllama_guard.core.records import make_snippet
    from exllama_guard.host import hooks, tool_guard, webui
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


def our_probe(host):
    state = host.state(exllama_guardrails_probe=True)
    return {"steps": list(host.text_generation.generate_reply("Say.", state, is_chat=True))}


def probe_writes(host):
    """Two generations of a probe; a user who asks during the first goes before the second."""
    from exllama_guard.host.probe_writer import HostWriter, users_first
    from exllama_guard.probes.run import Job, Runner
    from exllama_guard.probes.writer import DRAWN

    host.model.answer = "word " * 150 + "&amp; end."
    host.model.prompts.clear()

    def ask():
        while not host.model.prompts:
            time.sleep(0.002)
        list(host.text_generation.generate_reply("A user asks.", host.state(), is_chat=True))

    user = threading.Thread(target=ask)
    user.start()
    runner = Runner(users_first=users_first)
    jobs = [Job(f"Probe {number}?", DRAWN, number) for number in (1, 2)]
    texts = [written.text for _, written in runner.run(HostWriter(), jobs)]
    user.join()
    return {
        "texts": texts,
        "order": [name for prompt in host.model.prompts for name in _named_in(prompt)],
        "prompt": host.model.prompts[0],
        "id": HostWriter().id,
        "lock_free": not host.shared.generation_lock.locked(),
    }


def replayed(host):
    """A question asked with another extension off and on, while a user, for whom it is on, asks too."""
    from exllama_guard.core.records import Finish, Reason
    from exllama_guard.core.scoring import unscored_turn
    from exllama_guard.core.trace import record_of
    from exllama_guard.host.replay_host import ReplayingHost
    from exllama_guard.probes.writer import GREEDY

    extensions = sys.modules["modules.extensions"]
    noise = types.ModuleType("noise_script")
    noise.input_modifier = lambda string, state, is_chat=False: f"Noise. {string}"
    extensions.state["noise"] = [True, 9, noise]
    host.recorder.measure = lambda request, answer: unscored_turn(
        request, answer, Finish.COMPLETE, Reason.SWITCHED_OFF
    )
    host.model.answer = "word " * 150 + "end."
    host.model.prompts.clear()

    def ask():
        while not host.model.prompts:
            time.sleep(0.002)
        list(host.chat.generate_chat_reply("A user asks.", host.state()))

    user = threading.Thread(target=ask)
    user.start()
    before = extensions.iterator
    replaying, cancel = ReplayingHost(host.recorder), threading.Event()
    turns = [replaying.ask("Probe 1?", frozenset(on), GREEDY, 0, cancel) for on in ((), ("noise",))]
    user.join()
    records = [record_of(turn) for turn in turns]
    cancel.set()
    stopped = replaying.ask("Probe 2?", frozenset(), GREEDY, 0, cancel)
    del extensions.state["noise"]
    return {
        "noisy": ["Noise." in turn.request.prompt for turn in turns],
        "extensions": [record.extensions for record in records],
        "answers": [len(turn.answer.split()) for turn in turns],
        "prompts_differ": records[0].prompt_hash != records[1].prompt_hash,
        "user_noisy": ["Noise." in prompt for prompt in host.model.prompts if "A user asks." in prompt],
        "stopped": stopped is None,
        "put_back": extensions.iterator is before,
        "lock_free": not host.shared.generation_lock.locked(),
    }


def _named_in(prompt):
    return [name for name in ("Probe 1?", "Probe 2?", "A user asks.") if name in prompt]


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
    unticked, unticked_alone, our_probe, probe_writes, replayed, page_errand, set_up_again, model_events,
    uninstall,
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
