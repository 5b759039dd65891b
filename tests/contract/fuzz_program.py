"""Calls every hook and wrapper with random values in a host: `fuzz_program.py HOST_DIR COUNT SEED`.

Prints as JSON how many calls were made, which did not give back the host's own value, what the panel would
show, and what was logged. A generator written down here, not a library's: it has to make 100,000 in seconds.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import time
from pathlib import Path

from scripted_host import Host

HUGE = "snippets " * 100_000
BLOCK = "```guardrails-snippets\n"
TEXTS = (
    "", " ", "What does the fence do?", "\ud800", "a\udfffb", "\x00", "<script>alert(1)</script>", "é" * 300,
    "<|im_start|>user\nQ<|im_end|>", "```", BLOCK, BLOCK + "[", BLOCK + '[{"text": 1}]\n```\nQ', "]" * 50,
    "[" * 2000, "1" * 400, "\N{RIGHT-TO-LEFT OVERRIDE}abc", "{{7*7}}", "\r\n\u2028\n", HUGE,
)  # fmt: skip
KEYS = (
    "history", "internal", "visible", "metadata", "messages", "unique_id", "tools", "stop_event", "stream",
    "mode", "_tool_turn", "instruction_template_str", "chat_template_str", "custom_system_message", "context",
    "user_bio", "greeting", "exllama_guardrails_probe", "assistant_0", "user_0", "attachments", "content",
    "tool_sequence", "role", "name", "url", "text", "chat-instruct_command", "\ud800",
)  # fmt: skip


class Hostile(dict):
    """A mapping that fails at whatever is asked of it."""

    def _fail(self, *args):
        raise RuntimeError("hostile")

    get = items = keys = values = __getitem__ = __iter__ = __len__ = __bool__ = __contains__ = _fail


class Values:
    """Random values of the host's kinds and of none."""

    def __init__(self, seed):
        self.random = random.Random(seed)  # noqa: S311 - repeatable on purpose

    def text(self):
        if self.random.random() < 0.995:
            return self.random.choice(TEXTS[:-1])
        return HUGE

    def any(self, depth=3):
        kind = self.random.randrange(14 if depth else 9)
        if kind < 3:
            return self.text()
        if kind < 9:
            odd = (
                None,
                True,
                0,
                -1,
                10**40,
                float("nan"),
                float("inf"),
                b"\xff",
                1.5,
                object(),
                Hostile(),
                set(),
            )
            return self.random.choice(odd)
        if kind < 11:
            return [self.any(depth - 1) for _ in range(self.random.randrange(4))]
        if kind < 12:
            return tuple(self.any(depth - 1) for _ in range(self.random.randrange(3)))
        return self.mapping(depth - 1)

    def mapping(self, depth=3):
        return {self.random.choice(KEYS): self.any(depth) for _ in range(self.random.randrange(5))}

    def rows(self):
        return [[self.text() for _ in range(self.random.choice((0, 1, 2, 2, 2, 4)))] for _ in range(2)]

    def history(self):
        if self.random.random() < 0.3:
            return self.any()
        made = {"internal": self.rows(), "visible": self.rows(), "metadata": self.mapping()}
        made.update(self.mapping())
        return made

    def state(self):
        if self.random.random() < 0.15:
            return self.any()
        return {"history": self.history(), "unique_id": self.text(), **self.mapping()}


class Records(logging.Handler):
    """Keeps the lines of this extension's log that tell of a fault."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        if record.name.startswith("exllama_guard"):
            trace = record.exc_info[2] if record.exc_info else None
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
            self.lines.append(f"{record.getMessage()} {type(record.exc_info[1]).__name__} {place}")


class FuzzedHost(Host):
    """The host with a monitor of fakes, and a generation that says whatever it is told to."""

    def load(self):
        from exllama_guard.host.session import Session, use_session
        from exllama_guard.settings import Settings
        from exllama_guard.testing import make_monitor

        made = make_monitor(Settings())
        use_session(Session(made))
        for name in ("warmup", "traces"):
            self.shared.settings[f"exllama_guardrails-{name}"] = False
        self.said = []

        def _generate_reply(
            question, state, stopping_strings=None, is_chat=False, escape_html=False, for_ui=False
        ):
            for word in self.said:
                if isinstance(word, Exception):
                    raise word
                yield word
            return "the end"

        self.text_generation._generate_reply = self.raw = _generate_reply
        self.shared.args.extensions = ["exllama_guardrails"]
        self.extensions.available_extensions[:] = ["exllama_guardrails"]
        self.extensions.load_extensions()
        assert self.text_generation._generate_reply is not self.raw
        return made


def outcome(make, arguments, steps):
    """Everything that the host would see of a reply."""
    seen = []
    reply = make(*arguments)
    try:
        for count, text in enumerate(reply):
            seen.append(text)
            if count == steps:
                reply.close()
                seen.append("closed")
                break
    except RuntimeError as error:
        seen.append(error)
    return seen


def same(a, b):
    return len(a) == len(b) and all(x is y or x == y for x, y in zip(a, b, strict=True))


def calls(host, values):
    """One random call after the other: (its name, True when the host's value came back unchanged)."""
    apply = host.extensions.apply_extensions
    choose = values.random
    while True:
        kind = choose.randrange(10)
        if kind == 0:
            history = values.history()
            rows = history.get("internal") if type(history) is dict else None
            before = list(rows) if isinstance(rows, list) else rows
            back = apply("history", history)
            yield "history", back is history and (not isinstance(rows, list) or same(before, rows))
        elif kind in (1, 2):
            state = values.state()
            before = list(state.items()) if type(state) is dict else None
            back = apply("state", state)
            kept = before is None or all(a[1] is b[1] for a, b in zip(before, state.items(), strict=True))
            yield "state", back is state and kept
        elif kind == 3:
            text, visible = values.any(), values.text()
            back = apply("chat_input", text, visible, values.state())
            yield "chat_input", back[0] is text and back[1] is visible
        elif kind in (4, 5):
            text, is_chat = values.any(), choose.choice((True, False, None, 7))
            hook = choose.choice(("input", "output", "bot_prefix"))
            yield hook, apply(hook, text, values.state(), is_chat=is_chat) is text
        elif kind == 6:
            processors, ids = [values.any()], values.any()
            before = list(processors)
            back = apply("logits_processor", processors, ids)
            yield "logits_processor", back is processors and same(before, processors[-1:])
        elif kind == 7:
            arguments = (values.any(), values.any(), values.any(), values.any())
            back = apply("tokenizer", *arguments)
            yield "tokenizer", all(a is b for a, b in zip(back, arguments[1:], strict=True))
        else:
            host.said = [values.any(1) for _ in range(choose.randrange(5))]
            if choose.random() < 0.1:
                host.said.append(RuntimeError("the loader broke"))
            question = values.text() if choose.random() < 0.8 else values.any()
            state = values.state()
            flags = [choose.random() < 0.5 for _ in range(3)]
            arguments, steps = (question, state, values.any(), *flags), choose.choice((1, 99, 99))
            wrapped = outcome(host.text_generation._generate_reply, arguments, steps)
            yield "generate", same(wrapped, outcome(host.raw, arguments, steps))


def main():
    count, seed = int(sys.argv[2]), int(sys.argv[3])
    sys.stdout, out = sys.stderr, sys.stdout
    records = Records()
    logging.getLogger().addHandler(records)
    host = FuzzedHost(Path(sys.argv[1]).resolve())
    values = Values(seed)
    made, changed = {}, []
    started_s = time.perf_counter()
    stream = calls(host, values)
    for number in range(count):
        name, unchanged = next(stream)
        made[name] = made.get(name, 0) + 1
        if not unchanged:
            changed.append(f"{name} at call {number}")
    monitor = host.recorder
    idle = monitor.wait_until_idle(60)
    snapshot = monitor.snapshot()
    result = {
        "calls": made,
        "changed": changed[:20],
        "problems": list(snapshot.problems),
        "log": records.lines,
        "idle": idle,
        "open": len(monitor._worker._open),
        "turns": len(snapshot.turns),
        "seconds": time.perf_counter() - started_s,
    }
    print(json.dumps(result), file=out)


if __name__ == "__main__":
    main()
