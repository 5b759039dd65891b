"""A host whose loaded model is a second reader: its lock, its replies, its monitor, over fakes."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import Finish, ModelInfo, TurnRequest
from exllama_guard.host.lifecycle.hooks import gating
from exllama_guard.host.lifecycle.path import HostPath
from exllama_guard.lifecycle import Lifecycle
from exllama_guard.second_reader import ReaderStore, ReadingModel, RightOfWay, SecondReader
from exllama_guard.settings import Settings
from exllama_guard.testing import ListTrace, ReadingBackend, UndecidedScorer, make_monitor
from host.small_host import SmallHost
from second_reader.material import known, report_of, right_in, weakly

MODEL = ModelInfo("m", "Transformers")
HASH = "a" * 64
QUESTION, DOCUMENT = "Valve 1 opens at how many bar?", "Valve 1 opens at 21 bar."
RIGHT, WRONG = "It is valve 1 and 21 bar.", "It is valve 1 and 31 bar."
OF_USE = replace(report_of(right_in(9)), model="m", loader="Transformers", model_hash=HASH)


def wait_for(wanted, limit_s=60.0):
    until_s = time.monotonic() + limit_s
    while not wanted():
        assert time.monotonic() < until_s
        time.sleep(0.005)


class World:
    """A host with a model that reads as `says`, its monitor and its second reader."""

    def __init__(self, monkeypatch, tmp_path, says, **settings):
        self.host = SmallHost(monkeypatch)
        self.host.load("m")
        self.trace, self.threads = ListTrace(), []
        wanted = {"second_reader": "on", "second_reader_wait_s": 0.05, "warmup": False, **settings}
        self.monitor = make_monitor(
            Settings(**wanted),
            trace=self.trace,
            scorer=lambda snippets, question: UndecidedScorer(snippets),
        )
        self.monitor.model_changed(MODEL)
        self.backend = ReadingBackend(says)
        self.shift_s = 0.0  # of the clock that prompts are timed by
        self.store = ReaderStore(tmp_path / "second-readers.json")
        self.second = self.reader()
        self.monitor.read_later(self.second)
        life = Lifecycle(lambda: self.monitor.settings, HostPath(), self.monitor, self.spawn)
        self.host.text_generation._generate_reply = gating(life, lambda: self.second)(self.host.write)

    def reader(self, **more):
        return SecondReader(
            lambda: self.monitor.settings,
            RightOfWay(HostPath(), clock=lambda: time.monotonic() + self.shift_s),
            self.store,
            open_model=lambda: ReadingModel(
                "m", "Transformers", HASH, self.backend, lambda text: f"{text}\n"
            ),
            check=lambda question, document, answer, cancel: weakly(question, document, answer),
            give_back=self.monitor.give_back,
            spawn=self.spawn,
            rows=known,
            **more,
        )

    def spawn(self, job):
        self.threads.append(threading.Thread(target=job, daemon=True))
        self.threads[-1].start()

    def load(self, report=OF_USE):
        """The model is loaded, and was measured before."""
        if report is not None:
            self.store.add(report)
        self.second.model_changed("a load")
        wait_for(lambda: self.second.view().model)

    def turn(self, answer=RIGHT, turn_id="t1", finish=Finish.COMPLETE, model=MODEL):
        snippets = (make_snippet(DOCUMENT, position=0),)
        asked = TurnRequest(turn_id, QUESTION, snippets, model=model, started_at_s=time.time())
        self.monitor.open_turn(asked).close(answer, finish)

    def traced(self, count=1):
        wait_for(lambda: len(self.trace.reports) >= count)
        assert self.monitor.wait_until_idle(60)
        return self.trace.reports[-1]

    def asks_as_a_user(self, tokens=2):
        return list(self.host.generate_reply("hello", {"max_new_tokens": tokens}, None))

    def close(self):
        self.monitor.read_later(None)
        self.second.measuring.cancel()
        self.second.end()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()
