"""Runs turns under each setting of `on_fail` inside a host and prints what a reader got, as JSON.

`python acting_program.py HOST_DIR`. A program of its own, as host_scenarios.py, which it builds on: the host
makes the prompts, calls the hooks and streams; only the model's words are written down here.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import sys
import threading
import time
import traceback
from pathlib import Path

from host_scenarios import PAST, Host, LlamaServer, api_state, history

PASSAGE = "The fence waits for two equal runs. Then it opens."
FAR = "Completely unrelated words about bananas, monkeys, jungles, ripeness, vitamins."
QUESTION = "What does the fence do?"
WRONG = "It paints elephants purple <b>every</b> [Friday](http://example.org)."
RIGHT = "The fence waits for two equal runs. Then it opens."
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

        main = importlib.import_module("exllama_guard.monitor.main")
        main._monitor = self.monitor = make_monitor(Settings(warmup=False, traces=False))
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
        assert self.monitor.wait_until_idle(10)
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
    from exllama_guard.core.records import make_snippet
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


def pass_stands(host):
    host.settings(on_fail="refuse", on_review="annotate")
    host.model.answer = RIGHT
    return {**page(host), **host.turn()}


def annotate_page(host):
    host.settings(on_fail="annotate", annotate_citations=True)
    said = page(host)
    told = host.turn()
    rows = {k: [list(r) for r in said["all"][k]] for k in ("internal", "visible")}
    state = host.state(history={**rows, "metadata": {}})
    host.model.answer = RIGHT
    host.say("And then?", state)
    state = host.state(
        history={**rows, "metadata": {f"assistant_{len(rows['internal']) - 1}": {"timestamp": "x"}}}
    )
    again = host.say("", state, regenerate=True)
    return {
        **said,
        **told,
        "next_prompt": host.model.prompts[-2],
        "regenerated": again["visible"][-1][1],
    }


def annotate_api(host):
    host.settings(on_fail="annotate")
    said = api(host)
    told = host.turn()
    host.model.answer = RIGHT
    host.say("And then?", api_state(host, history=history([QUESTION, said["internal"]])))
    return {**said, **told, "next_prompt": host.model.prompts[-1]}


def annotate_completion(host):
    host.settings(on_fail="annotate")
    return {"steps": host.complete(f"{asked()}\nA:"), **host.turn()}


def annotate_notebook(host):
    host.settings(on_fail="annotate")
    steps = host.text_generation.generate_reply(
        asked(), host.state(), is_chat=False, escape_html=True, for_ui=True
    )
    return {"last": list(steps)[-1], **host.turn()}


def refuse_page(host):
    host.settings(on_fail="refuse")
    return {**page(host), **host.turn()}


def refuse_thinking(host):
    host.settings(on_fail="refuse")
    host.model.answer = f"<think>hmm</think>{WRONG}"
    return {**page(host), **host.turn()}


def refuse_api_streamed(host):
    host.settings(on_fail="refuse")
    return {**api(host), **host.turn()}


def refuse_api_sent(host):
    host.settings(on_fail="refuse", hold_api_stream=False)
    return {**api(host), **host.turn()}


def refuse_api_whole(host):
    host.settings(on_fail="refuse")
    return {**api(host, stream=False), **host.turn()}


def nothing_retrieved_streams(host):
    host.settings(on_fail="refuse")
    host.model.pause_s = 0.1  # words come more slowly than it is found that nothing was retrieved
    return {**api(host, QUESTION), **host.turn()}


def refuse_notebook(host):
    host.settings(on_fail="refuse")
    steps = host.text_generation.generate_reply(
        asked(), host.state(), is_chat=False, escape_html=True, for_ui=True
    )
    return {"last": list(steps)[-1], **host.turn()}


def repair_page(host):
    host.settings(on_fail="repair")
    said = page(host, asked(FAR, PASSAGE))
    return {**said, **host.turn(), "states": host.model.states[-2:], "prompt": host.model.prompts[-1]}


def repair_attachment(host):
    attached = [{"name": "notes.txt", "type": "text/plain", "content": PASSAGE}]
    host.settings(on_fail="repair")
    rows = history(PAST, [QUESTION, "Old."], user_1={"attachments": attached}, assistant_1={"timestamp": "x"})
    said = host.say("", host.state(history=rows), regenerate=True)
    return {"internal": said["internal"][-1][1], **host.turn(), "prompt": host.model.prompts[-1]}


def repair_api_streamed(host):
    host.settings(on_fail="repair")
    return {**api(host), **host.turn()}


def repair_whole(host):
    host.settings(on_fail="repair")
    return {**api(host, stream=False), **host.turn()}


def repair_completion(host):
    host.settings(on_fail="repair")
    steps = host.complete(f"{asked()}\nA:", stream=False)
    return {"steps": steps, **host.turn(), "prompt": host.model.prompts[-1]}


def repair_worse(host):
    host.settings(on_fail="repair")
    host.model.again = "Purple bananas sing louder everywhere."
    return {**page(host), **host.turn()}


def repair_twice(host):
    host.settings(on_fail="repair", repair_tries=2)
    host.model.again = "Purple bananas sing louder everywhere."
    return {**page(host, asked(PASSAGE, FAR)), **host.turn(), "prompts": host.model.prompts[-2:]}


def repair_empty(host):
    host.settings(on_fail="repair")
    host.model.again = " "
    return {**page(host), **host.turn()}


def repair_breaks(host):
    def fail(text):
        raise RuntimeError("the loader broke")

    host.settings(on_fail="repair")
    host.model.on_again = fail
    return {**page(host), **host.turn()}


def repair_stopped(host):
    def press(text):
        if text.startswith("The fence"):
            host.shared.stop_everything = True

    host.settings(on_fail="repair")
    host.model.on_again = press
    said = page(host)
    return {**said, **host.turn(), "flag": bool(host.shared.stop_everything)}


def repair_too_slow(host):
    host.settings(on_fail="repair", repair_limit_s=1.0)
    host.model.on_again = lambda text: time.sleep(0.4)
    started = time.monotonic()
    return {**page(host), **host.turn(), "took_s": time.monotonic() - started}


def repair_while_another_waits(host):
    host.settings(on_fail="repair", repair_others_wait_s=0.05)
    said, threads = {}, []

    def other():
        said["other"] = page(host, QUESTION)["internal"]

    def start(count):
        if count == 1:
            threads.append(threading.Thread(target=other))
            threads[0].start()

    host.model.pause_s = 0.05
    mine = page(host, on_step=start)
    threads[0].join(20)
    assert host.monitor.wait_until_idle(10)
    reports = [r for r in host.monitor.snapshot(None).turns if r.acted is not None]
    return {**mine, "why": reports[0].acted.why, "other": said.get("other")}


def repair_in_parallel(host):
    """Two API clients at once on a loader that writes for several: 4.7.3 then takes no lock."""
    host.settings(on_fail="repair", repair_others_wait_s=60.0)
    host.model.pause_s = 0.05
    host.shared.args.parallel = 2
    parallel = "use_parallel" in inspect.getsource(host.text_generation)
    said = []

    def ask():
        client = {"stop_event": threading.Event()} if parallel else {}
        said.append(api(host, **client)["internal"])

    threads = [threading.Thread(target=ask) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        host.shared.args.parallel = 1
    assert host.monitor.wait_until_idle(10)
    done = [turn.acted.done.value for turn in host.monitor.snapshot(None).turns[:2]]
    return {"said": said, "done": done, "at_once": host.model.busiest, "parallel": parallel}


def continued(host):
    host.settings(on_fail="repair")
    rows = history(PAST, [asked(), "It paints"], assistant_1={"timestamp": "x"})
    host.model.answer = " elephants purple every Friday."
    said = host.say("", host.state(history=rows), _continue=True)
    return {"internal": said["internal"][-1][1], "visible": said["visible"][-1][1], **host.turn()}


def with_tools(host):
    host.settings(on_fail="repair")
    tool = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {}}}
    return {**api(host, tools=[tool], stream=False), **host.turn()}


def as_json(host):
    host.settings(on_fail="refuse", on_review="refuse")
    host.model.answer = '{"colour": "purple", "animal": "elephants"}'
    return {**api(host, stream=False), **host.turn()}


def under_a_grammar(host):
    host.settings(on_fail="annotate")
    return {**api(host, stream=False, grammar_string='root ::= "x"'), **host.turn()}


def stopped_answer(host):
    def press(count):
        if count == 2:
            host.shared.stop_everything = True

    host.settings(on_fail="refuse")
    return {**page(host, on_step=press), **host.turn()}


def verdict_too_late(host):
    host.settings(on_fail="refuse", act_wait_ms=1.0)
    blocked = host.monitor._worker.submit(time.sleep, 0.6)
    said = page(host)
    blocked.result(10)
    return {**said, **host.turn()}


def verdict_too_late_held(host):
    host.settings(on_fail="refuse", act_wait_ms=1.0)
    blocked = host.monitor._worker.submit(time.sleep, 0.6)
    said = api(host)
    blocked.result(10)
    return {**said, **host.turn()}


def client_goes_during_repair(host):
    if "stop_event" not in inspect.getsource(host.text_generation):
        return {"skipped": "this host closes the reply's generator where a client leaves"}
    host.settings(on_fail="repair")
    event = threading.Event()
    host.model.on_again = lambda text: event.set() if text else None
    said = api(host, stop_event=event)
    lock = host.shared.generation_lock
    free = lock.acquire(timeout=1)
    if free:
        lock.release()
    return {**said, **host.turn(), "lock_free": free}


FAULTS = (
    ("acting", "decide", "refuse"), ("acting", "refusal", "refuse"), ("acting", "annotation", "annotate"),
    ("acting", "answer_of", "refuse"), ("acting_repair", "choose", "repair"),
    ("acting_repair", "repair_message", "repair"), ("acting_repair", "repair_snippets", "repair"),
    ("acting_repair", "chat_prompt", "repair"), ("acting_repair", "repair_state", "repair"),
    ("acting_repair", "watched_lock", "repair"), ("acting_repair", "answer_of", "repair"),
)  # fmt: skip


def faults(host):
    """What a reader gets where one of our functions raises: on the page, and held back over the API."""

    def fail(*args, **kwargs):
        raise ZeroDivisionError("made to raise")

    got = {}
    for place, name, mode in FAULTS:
        module = importlib.import_module(f"exllama_guard.host.{place}")
        original = getattr(module, name)
        setattr(module, name, fail)
        host.settings(on_fail=mode)
        try:
            got[f"{place}.{name}"] = [page(host)["internal"], api(host)["internal"]]
        finally:
            setattr(module, name, original)
    assert host.monitor.wait_until_idle(10)
    return {"got": got, "told": list(host.monitor.snapshot(None).problems)}


SCENARIOS = (
    pass_stands, annotate_page, annotate_api, annotate_completion, annotate_notebook, refuse_page,
    refuse_thinking, refuse_api_streamed, refuse_api_sent, refuse_api_whole, nothing_retrieved_streams,
    refuse_notebook, repair_page, repair_attachment, repair_api_streamed, repair_whole, repair_completion,
    repair_worse, repair_twice, repair_empty, repair_breaks, repair_stopped, repair_too_slow,
    repair_while_another_waits, repair_in_parallel, continued, with_tools, as_json, under_a_grammar,
    stopped_answer, verdict_too_late, verdict_too_late_held, client_goes_during_repair,
    faults,
)  # fmt: skip


def main():
    sys.stdout, out = sys.stderr, sys.stdout  # the host prints; our result stands alone
    folder, wanted = Path(sys.argv[1]).resolve(), set(sys.argv[2:])
    host = ActingHost(folder)
    results = {}
    for scenario in SCENARIOS:
        if wanted and scenario.__name__ not in wanted:
            continue
        host.model = Model()
        host.model.answer = WRONG
        host.set_model(host.model)
        host.shared.stop_everything = False
        try:
            results[scenario.__name__] = scenario(host)
        except Exception:  # noqa: BLE001 - the test shows it
            results[scenario.__name__] = {"error": traceback.format_exc()}
    print(json.dumps(results), file=out)


if __name__ == "__main__":
    main()
