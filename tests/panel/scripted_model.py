"""A followed model over the fake backend, and a tool lock without a host, for the panel's tests."""

from __future__ import annotations

import threading
from typing import Any

from exllama_guard.backends.loaded import LoadedModel, reference
from exllama_guard.host.tools.guard import ToolGuard
from exllama_guard.host.tools.turn import ToolTurn
from exllama_guard.lifecycle import Lifecycle
from exllama_guard.lifecycle.path import BackendPath
from exllama_guard.loaders import promise_on
from exllama_guard.monitor import Monitor
from exllama_guard.settings import Settings
from exllama_guard.testing import FakeBackend
from exllama_guard.tools.ledger import ToolRow
from exllama_guard.tools.promise import LockMode

CHAT = "page::20261122-10-15-33"


class _Weights:
    """Something that can be held by a weak reference."""


def followed(monitor: Monitor, *, token_s: float = 0.0, drifts_after_tokens: int | None = 600) -> Lifecycle:
    """A lifecycle whose model is warm; it writes something else once the cache holds that many tokens."""
    backend = FakeBackend(token_s=token_s, drifts_after_tokens=drifts_after_tokens)
    jobs: list[threading.Thread] = []

    def spawn(job: Any) -> None:
        jobs.append(threading.Thread(target=job, daemon=True))
        jobs[-1].start()

    made = Lifecycle(
        settings=lambda: monitor.settings,
        path=BackendPath(backend),
        notices=monitor,
        spawn=spawn,
        make_backend=lambda loaded: backend,
    )
    weights = _Weights()
    made.weights = weights  # type: ignore[attr-defined]  # kept alive as the host keeps its model
    made.model_changed(LoadedModel("SmolLM2-135M-Instruct", "fake", reference(weights), lambda: None))
    jobs[0].join(20)
    made.reply_ended("a question of a few words", "an answer of some more words than that", 0.1)
    jobs[-1].join(20)
    return made


class ScriptedTools(ToolGuard):
    """The real tool guard, installed in no host."""

    def __init__(self, loader: str = "Transformers") -> None:
        super().__init__(Settings)
        self._loader = loader

    def offer(self, name: str, description: str, chat: str = CHAT) -> None:
        """A turn that offers one tool."""
        schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        function = {"name": name, "description": description, "parameters": schema}
        ToolTurn(self._services, chat).observe([{"type": "function", "function": function}])

    def call(self, name: str, chat: str = CHAT, **arguments: object) -> None:
        """A call of a tool, checked as the host's would be."""
        turn = ToolTurn(self._services, chat)
        turn.statuses = {status.tool.name: status for status in self.locks.chat(chat).statuses()}
        verdict = turn.check(name, arguments)
        self.ledger.add_call(chat, verdict, executed=verdict.valid, arguments=None)

    def rows(self, chat: str) -> tuple[ToolRow, ...]:
        return self.ledger.rows(
            chat,
            self.locks.chat(chat).statuses(),
            lambda status: promise_on(self._loader, LockMode.ENFORCE_CALLS),
        )
