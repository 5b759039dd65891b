"""Starts, chunks, stops, disconnects, tool turns and switches of many chats in any order.

The host's part is a generator that yields what it is told; hooks, wrapper, monitor and its thread are real.
"""

from __future__ import annotations

import sys
import threading
import types
from dataclasses import dataclass, field

from exllama_guard.core.turns import Finish, Reader
from exllama_guard.host import hooks
from exllama_guard.host.session import Session, use_session
from exllama_guard.host.turn import observe
from exllama_guard.host.turn.hand_over import hand_over
from exllama_guard.settings import Settings
from exllama_guard.testing import ListTrace, make_monitor
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

USERS = ("ann", "bob", None)  # None: the API, which has no reader
CHATS = st.integers(0, 5)
WORDS = 6


@dataclass
class Running:
    """A reply that the host is writing."""

    marker: str
    user: str | None
    replies: object
    kind: str
    counts: bool  # whether it began while the extension was on
    stop: threading.Event = field(default_factory=threading.Event)


class Chats(RuleBasedStateMachine):
    """Six chats of two logins and the API, one monitor."""

    def __init__(self):
        super().__init__()
        self.trace = ListTrace()
        self.monitor = make_monitor(Settings(turns_kept=8), trace=self.trace)
        self.monitor.multi_user = True
        self.session = Session(self.monitor, observing=True)
        use_session(self.session)
        self.shared = types.ModuleType("modules.shared")
        self.shared.args = types.SimpleNamespace(extensions=["exllama_guardrails"], loader="llama.cpp")
        self.shared.stop_everything, self.shared.model, self.shared.model_name = False, object(), "one"
        self.shared.settings = {}
        extensions = types.ModuleType("modules.extensions")
        script = types.SimpleNamespace(state_modifier=hooks.state_modifier)
        extensions.state = {"exllama_guardrails": [True, 0, script]}
        self.before = {name: sys.modules.get(name) for name in self._names()}
        package = types.ModuleType("modules")
        context = types.ModuleType("gradio.context")
        context.LocalContext = types.SimpleNamespace(request=types.SimpleNamespace(get=self._request))
        sys.modules.update(zip(self._names(), (package, self.shared, extensions, context), strict=True))
        self.user = None  # who is being served, as gradio would say
        self.generate = observe.observing(self.session)(self._host)
        self.running: dict[int, Running] = {}
        self.expected: dict[str, tuple[Finish, str | None]] = {}
        self.number = 0

    @staticmethod
    def _names():
        return ("modules", "modules.shared", "modules.extensions", "gradio.context")

    def _request(self, default):
        return default if self.user is None else types.SimpleNamespace(username=self.user, session_hash="s")

    def _host(self, question, state, stopping_strings=None, is_chat=False, escape_html=False, for_ui=False):
        text = ""
        for number in range(WORDS):
            text += f" {state['marker']} word {number}."
            yield text
            if self.shared.stop_everything or state["stop_event"].is_set():
                return
        if state.get("tools"):
            text = f'<tool_call>{{"name": "add", "arguments": {{"of": "{state["marker"]}"}}}}</tool_call>'
            yield text

    @property
    def on(self):
        return self.monitor.enabled and bool(self.shared.args.extensions)

    # --- what happens -----------------------------------------------------------------------------------

    @rule(
        chat=CHATS,
        kind=st.sampled_from(
            ["say", "regenerate", "continue", "tools", "tool result", "completion", "probe"]
        ),
        handed=st.booleans(),
    )
    def start(self, chat, kind, handed):
        if chat in self.running:
            return
        self.number += 1
        marker, self.user = f"m{chat}n{self.number}m", USERS[chat % 3]
        asked = f"What of {marker}?"
        old = "An answer that goes on." if kind == "continue" else ""
        state = {
            "marker": marker, "stop_event": threading.Event(), "history": {"internal": [[asked, old]]},
            "custom_system_message": f"Context of {marker}.",
        }  # fmt: skip
        if self.user is not None:
            state["unique_id"] = f"chat-{chat}"
        if kind == "tools":
            state["tools"] = [{"name": "add"}]
        if kind == "tool result":
            state["_tool_turn"] = True
        if kind == "probe":
            state[observe.PROBE] = True
        if handed and self.user is not None and kind != "probe" and self.on:
            hand_over([f"Passage of {marker}."], chat_id=f"chat-{chat}")
        prompt = f"user: {asked}\nassistant:{old}"
        if kind != "completion":
            hooks.history_modifier(state["history"])
            hooks.state_modifier(state)
            if kind in ("say", "tools"):
                assert hooks.chat_input_modifier(asked, asked, state) == (asked, asked)
        flags = {"is_chat": kind != "completion", "for_ui": self.user is not None}
        replies = self.generate(prompt, state, **flags)
        counts = self.on and kind != "probe"
        self.running[chat] = Running(marker, self.user, replies, kind, counts, state["stop_event"])
        next(replies)

    @rule(chat=CHATS, steps=st.integers(1, WORDS + 2))
    def go_on(self, chat, steps):
        if chat in self.running:
            running = self.running[chat]
            self.user = running.user
            for _ in range(steps):
                if next(running.replies, None) is None:
                    self._ended(chat, Finish.COMPLETE)
                    return

    @rule(chat=CHATS)
    def press_stop(self, chat):
        if chat in self.running:
            self.user = self.running[chat].user
            self.shared.stop_everything = True
            list(self.running[chat].replies)
            self._ended(chat, Finish.STOPPED)
            self.shared.stop_everything = False

    @rule(chat=CHATS, told=st.booleans())
    def disconnect(self, chat, told):
        if chat in self.running:
            running = self.running[chat]
            if told:
                running.stop.set()
            running.replies.close()
            # The host itself breaks off once it has read a tool call.
            tool_call = running.kind == "tools" and not told
            self._ended(chat, Finish.COMPLETE if tool_call else Finish.DISCONNECTED)

    @rule()
    def switch(self):
        self.monitor.set_enabled(not self.monitor.enabled)
        for running in self.running.values():
            running.counts = False

    @rule()
    def untick_or_tick(self):
        self.shared.args.extensions = [] if self.shared.args.extensions else ["exllama_guardrails"]

    @rule(name=st.sampled_from(["one", "two", "None"]))
    def switch_model(self, name):
        self.shared.model_name = name
        self.shared.model = None if name == "None" else object()
        from exllama_guard.host import webui

        self.monitor.model_changed(webui.model_info(), ())

    @rule()
    def change_settings(self):
        assert self.monitor.change_settings(distance_pass=0.40 + self.number % 5 / 100) == ()

    @precondition(lambda self: len(self.running) > 2)
    @rule()
    def everybody_leaves(self):
        for chat in list(self.running):
            self.disconnect(chat, told=False)

    def _ended(self, chat, finish):
        running = self.running.pop(chat)
        if running.counts:
            self.expected[running.marker] = (finish, running.user)

    # --- what must hold ---------------------------------------------------------------------------------

    @invariant()
    def bounded(self):
        assert len(self.monitor._worker._open) <= self.monitor.settings.queue_limit
        assert len(self.session.notes._notes) <= 64
        assert len(self.session.notes._histories) <= 64
        assert self.monitor.snapshot().problems == ()

    @rule()
    def settle(self):
        assert self.monitor.wait_until_idle(120)
        assert len(self.monitor._worker._open) <= sum(running.counts for running in self.running.values())
        assert self.monitor.snapshot().shed == 0
        seen = {}
        for report in self.trace.reports:
            (marker,) = {
                part
                for part in report.request.question.split("?")[0].split()
                if part[0] == "m" and "n" in part
            }
            assert marker not in seen, "a turn was kept twice"
            seen[marker] = report.finish
            others = {name for name in self.expected if name != marker}
            texts = [report.answer, report.request.prompt, *(s.text for s in report.request.snippets)]
            for text in texts:
                assert not others & set(text.replace(".", " ").replace("?", " ").split()), (marker, text)
            finish, user = self.expected[marker]
            assert (report.finish, report.request.reader) == (finish, Reader(username=user)), marker
        assert set(seen) == set(self.expected)
        for user in USERS:
            reader = Reader(username=user)
            turns = self.monitor.snapshot(reader).turns
            assert all(turn.request.reader == reader for turn in turns)
            assert len(turns) <= 8

    def teardown(self):
        for chat in list(self.running):
            self.disconnect(chat, told=False)
        self.settle()
        assert len(self.monitor._worker._open) == 0
        use_session(None)
        for name, module in self.before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


TestChats = Chats.TestCase
TestChats.settings = settings(max_examples=40, stateful_step_count=60, deadline=None, derandomize=True)
