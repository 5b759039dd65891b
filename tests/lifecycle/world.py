"""A fake host and what surrounds a lifecycle, for the tests of a loaded model's life."""

from __future__ import annotations

import threading
import time

from exllama_guard.backends.loaded import LoadedModel, LoadSettings, reference
from exllama_guard.lifecycle import Lifecycle
from exllama_guard.lifecycle.path import Turnstile
from exllama_guard.lifecycle.warmup import Run
from exllama_guard.settings import Settings
from exllama_guard.testing import FakeBackend


class Model:
    """Something that a weak reference can hold."""


class Host:
    """A generation lock and a model whose time to first token a test chooses."""

    def __init__(self, ttfts=(0.002,), error=None, token_s=0.0):
        self.lock = threading.Lock()
        self.ttfts, self.error, self.token_s = list(ttfts), error, token_s
        self.prompts: list[str] = []
        self.busy = threading.Lock()
        self.overlapped = False
        self.hang = threading.Event()
        self.hang.set()

    def enter(self, wait_s):
        return Turnstile(self.lock) if self.lock.acquire(timeout=wait_s) else None

    def run(self, prompt, n_tokens, cancel):
        if not self.busy.acquire(blocking=False):
            self.overlapped = True
            raise AssertionError("two generations at once")
        try:
            self.prompts.append(prompt)
            if self.error is not None:
                raise self.error
            self.hang.wait(20)
            ttft_s = self.ttfts[min(len(self.prompts), len(self.ttfts)) - 1]
            time.sleep(ttft_s)
            for _ in range(n_tokens):
                if cancel.is_set():
                    break
                time.sleep(self.token_s)
            return Run(ttft_s, ttft_s + n_tokens * self.token_s, n_tokens, f"after {prompt[:6]}")
        finally:
            self.busy.release()

    def waiting(self):
        return 0

    def settings(self):
        return {"top_k": 1}


class Told:
    def __init__(self):
        self.events: list[tuple[str, str]] = []
        self.problems: dict[str, str] = {}

    def record_event(self, kind, text):
        self.events.append((kind, text))

    def report_problem(self, sentence, key):
        self.problems[key] = sentence

    def clear_problem(self, key):
        self.problems.pop(key, None)

    def text(self):
        return " ".join(text for _, text in self.events)


class World:
    """A lifecycle with everything around it, whose threads are joined at the end."""

    def __init__(self, host=None, backend=None, store=None, **settings):
        self.host, self.told, self.backend = host or Host(), Told(), backend or FakeBackend()
        self.settings = Settings(**settings)
        self.threads: list[threading.Thread] = []
        self.faults: list[BaseException] = []
        self.cards = []
        self.lifecycle = Lifecycle(
            settings=lambda: self.settings,
            path=self.host,
            notices=self.told,
            spawn=self.spawn,
            store=store,
            make_backend=lambda loaded: self.backend,
            on_card=lambda card, can: self.cards.append(card),
        )

    def spawn(self, job):
        def guarded():
            try:
                job()
            except Exception as error:  # noqa: BLE001 - kept, and looked at when the threads are joined
                self.faults.append(error)

        thread = threading.Thread(target=guarded, daemon=True)
        self.threads.append(thread)
        thread.start()

    def settle(self):
        for thread in list(self.threads):
            thread.join(20)
            assert not thread.is_alive()
        assert self.faults == []

    def state(self):
        return self.lifecycle.snapshot().state


def loaded(model, name="m", **settings):
    return LoadedModel(name, "fake", reference(model), lambda: None, settings=LoadSettings(**settings))
