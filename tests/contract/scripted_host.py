"""A host with its own code and a model whose words are written down here, and one plain turn in it.

For programs of their own: a host's `modules` and its Python belong to one process. The host makes the prompt,
calls the hooks and streams.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import os
import sys
import threading
import time
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
PAST = ["What is a fence?", "A fence is a wait."]


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

    def read_later(self, later):
        pass

    def give_back(self, report):
        pass

    def reader_for(self, username, session):
        from exllama_guard.core.turns import Reader

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
        place = importlib.import_module("exllama_guard.host.session")
        recorder = Recorder()
        place.use_session(place.Session(recorder))
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


def api_state(host, **changes):
    state = host.state(**changes)
    state.pop("unique_id")
    return state


def chat_turn(host):
    said = host.say("What does the fence do?", host.state(history=history(PAST)))
    return {"internal": said["internal"][-1], "visible": said["visible"][-1]}
