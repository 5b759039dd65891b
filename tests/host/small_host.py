"""Modules named as the host's, small enough to read: its lock, its Stop flag, its `_generate_reply`."""

from __future__ import annotations

import threading
import time
import types

from host_modules import host_modules


class Weights:
    """Something that a weak reference can hold."""


class SmallHost:
    """Writes one word a step; every state that it was asked with is kept."""

    def __init__(self, monkeypatch, step_s=0.01):
        self.step_s, self.states, self.running = step_s, [], 0
        self.shared, self.text_generation, presets, loaders = host_modules(
            monkeypatch, "shared", "text_generation", "presets", "loaders"
        )
        settings = {"add_bos_token": True, "truncation_length": 8192, "static_cache": False}
        vars(self.shared).update(
            model=None,
            model_name="None",
            tokenizer=None,
            lora_names=[],
            stop_everything=False,
            generation_lock=threading.Lock(),
            args=types.SimpleNamespace(loader="Transformers", bf16=False, gpu_split=None),
            settings=dict(settings),
            default_settings=dict(settings),
        )
        vars(self.text_generation).update(generate_reply=self.generate_reply, _generate_reply=self.write)
        presets.__spec__ = types.SimpleNamespace(name="modules.presets")
        presets.default_preset = lambda: {"temperature": 1, "top_k": 0, "do_sample": True, "tfs": 1}
        loaders.loaders_and_params = {"Transformers": ["bf16", "gpu_split", "vram_info"]}

    def load(self, name="m"):
        self.shared.model_name = name
        self.shared.model = Weights()
        return self.shared.model

    def generate_reply(self, *args, **kwargs):
        """As the host's: the lock first, then the module's global."""
        self.shared.generation_lock.acquire()
        try:
            yield from self.text_generation._generate_reply(*args, **kwargs)
        finally:
            self.shared.generation_lock.release()

    def write(self, question, state, stopping_strings=None, is_chat=False, escape_html=False, for_ui=False):
        """As the host's: clears the Stop flag when it begins, ends when it is set."""
        self.shared.stop_everything = False
        self.states.append(dict(state))
        self.running += 1
        assert self.running == 1, "two generations at once"
        try:
            text = ""
            for number in range(state["max_new_tokens"]):
                time.sleep(self.step_s)
                text += f" word{number}"
                yield text
                if self.shared.stop_everything:
                    return
        finally:
            self.running -= 1
