"""A host with a real monitor over fakes and a model that can be asked again, for acting_program.py."""

from __future__ import annotations

import dataclasses
import importlib
import time

from acting_texts import PASSAGE, QUESTION, RIGHT
from scripted_host import PAST, Host, LlamaServer, api_state, history

ASKED_AGAIN = "from these passages only"


class Model(LlamaServer):
    """Answers the first time with `answer`, and with `again` where it is asked to keep to the passages."""

    def __init__(self):
        super().__init__()
        self.again, self.states, self.pause_s, self.on_again = RIGHT, [], 0.002, None
        self.writing, self.busiest = 0, 0  # replies at once, now and at most

    def generate_with_streaming(self, prompt, state):
        self.prompts.append(prompt)
        self.states.append({k: state.get(k) for k in ("temperature", "seed", "do_sample")})
        trying = ASKED_AGAIN in prompt
        text = ""
        self.writing += 1
        self.busiest = max(self.busiest, self.writing)
        try:
            for word in (self.again if trying else self.answer).split(" "):
                if trying and self.on_again is not None:
                    self.on_again(text)
                time.sleep(self.pause_s)
                text += word if not text else " " + word
                yield text
        finally:
            self.writing -= 1


Model.__name__ = "LlamaServer"  # by which the host picks its way of generating


class ActingHost(Host):
    """The host with a real monitor over fakes."""

    def load(self):
        from exllama_guard.settings import Settings
        from exllama_guard.testing import make_monitor

        place = importlib.import_module("exllama_guard.host.session")
        self.monitor = make_monitor(Settings(warmup=False, traces=False))
        place.use_session(place.Session(self.monitor))
        self.shared.args.extensions = ["exllama_guardrails"]
        self.extensions.available_extensions[:] = ["exllama_guardrails"]
        self.extensions.load_extensions()
        return self.monitor

    def settings(self, **values):
        from exllama_guard.settings import Settings

        wanted = {"warmup": False, "traces": False, "rotation": False, "act_wait_ms": 3000.0, **values}
        self.monitor.replace_settings(dataclasses.replace(Settings(), **wanted))

    def turn(self):
        """What the newest report says."""
        assert self.monitor.wait_until_idle(120)
        shown = self.monitor.snapshot(None)
        report = shown.turns[0]
        acted = report.acted
        return {
            "answer": report.answer,
            "verdict": report.verdict.gate.value,
            "finish": report.finish.value,
            "problems": [p for p in shown.problems if "counted" not in p],
            "acted": acted
            and {
                "wanted": acted.wanted.value,
                "done": acted.done.value,
                "why": acted.why,
                "shown": acted.shown,
                "waited_ms": acted.waited_ms,
                "tries": [
                    {
                        "answer": one.answer,
                        "support": one.support if isinstance(one.support, float) else None,
                        "kept": one.kept,
                        "problem": one.problem,
                    }
                    for one in acted.tries
                ],
            },
        }


def asked(*passages):
    from exllama_guard.core.snippets import make_snippet
    from exllama_guard.sources.marked_block import format_block

    given = passages or (PASSAGE,)
    block = format_block([make_snippet(text, position=i) for i, text in enumerate(given)])
    return f"{block}\n\n{QUESTION}"


def page(host, text=None, *, on_step=None, **changes):
    steps = []

    def note(count):
        if on_step is not None:
            on_step(count)

    state = host.state(history=history(PAST), **changes)
    generator = host.chat.generate_chat_reply(text or asked(), state, loading_message=False, for_ui=True)
    for count, said in enumerate(generator):
        steps.append(said["internal"][-1][1])
        note(count)
        last = {k: [list(row) for row in said[k]] for k in ("internal", "visible")}
    return {
        "steps": steps,
        "internal": last["internal"][-1][1],
        "visible": last["visible"][-1][1],
        "all": last,
    }


def api(host, text=None, **changes):
    state = api_state(host, history=history(PAST), **changes)
    steps = [
        said["internal"][-1][1]
        for said in host.chat.generate_chat_reply(text or asked(), state, loading_message=False)
    ]
    return {"steps": steps, "internal": steps[-1]}


def notebook(host):
    steps = host.text_generation.generate_reply(
        asked(), host.state(), is_chat=False, escape_html=True, for_ui=True
    )
    return {"last": list(steps)[-1]}
