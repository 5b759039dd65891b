"""Runs turns under each setting of `on_fail` inside a host and prints what a reader got, as JSON.

`python acting_program.py HOST_DIR`. A program of its own, as all that run in a host.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import threading
import time
import traceback
from pathlib import Path

from acting_host import ActingHost, Model, api, asked, notebook, page
from acting_texts import FAR, PASSAGE, QUESTION, RIGHT, WRONG
from scripted_host import PAST, api_state, history


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
    return {**notebook(host), **host.turn()}


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
    return {**notebook(host), **host.turn()}


def repair_page(host):
    host.settings(on_fail="repair")
    doing = []
    host.model.on_again = lambda text: doing.append(host.monitor.snapshot(None).doing)
    said = page(host, asked(FAR, PASSAGE))
    told = {**said, **host.turn(), "states": host.model.states[-2:], "prompt": host.model.prompts[-1]}
    return {**told, "doing": [*dict.fromkeys(doing)], "doing_after": host.monitor.snapshot(None).doing}


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
    threads[0].join(120)
    assert host.monitor.wait_until_idle(120)
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
            thread.join(120)
    finally:
        host.shared.args.parallel = 1
    assert host.monitor.wait_until_idle(120)
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


def _while_nothing_is_scored(host, ask):
    """What `ask(release)` gives while the scoring thread is busy until it calls `release`."""
    go = threading.Event()
    blocked = host.monitor._worker.submit(go.wait, 60)
    try:
        said = ask(go.set)
    finally:
        go.set()
        blocked.result(10)
    return {**said, **host.turn()}


def _once_awaited(host, then):
    """Calls `then` once the panel says that a verdict is awaited; gives what it said."""
    said = []

    def look():
        until_s = time.monotonic() + 30
        while time.monotonic() < until_s and not said:
            said.extend(filter(None, [host.monitor.snapshot(None).doing]))
            time.sleep(0.005)
        then()

    watching = threading.Thread(target=look)
    watching.start()
    return watching, said


def first_answer_awaits_its_models(host):
    """The first verdict of an embedder that is still loading: the panel says that it is awaited."""

    def ask(release):
        watching, said = _once_awaited(host, release)
        got = page(host)
        watching.join(60)
        return {**got, "doing": said, "doing_after": host.monitor.snapshot(None).doing}

    host.settings(on_fail="refuse", act_wait_ms=1.0, embedder="another")
    return _while_nothing_is_scored(host, ask)


def first_answer_awaits_its_models_held(host):
    def ask(release):
        watching, _ = _once_awaited(host, release)
        got = api(host)
        watching.join(60)
        return got

    host.settings(on_fail="refuse", act_wait_ms=1.0, embedder="a third")
    return _while_nothing_is_scored(host, ask)


def first_answer_stopped(host):
    """Stop ends the wait for a first verdict."""

    def press():
        host.shared.stop_everything = True

    def ask(release):
        watching, _ = _once_awaited(host, press)
        got = page(host)
        watching.join(60)
        return got

    host.settings(on_fail="refuse", act_wait_ms=1.0, embedder="a fourth")
    return _while_nothing_is_scored(host, ask)


def _judged_once(host, **settings):
    host.settings(**settings)
    page(host)
    host.settings(act_wait_ms=1.0, **settings)


def verdict_too_late(host):
    _judged_once(host, on_fail="refuse")
    return _while_nothing_is_scored(host, lambda release: page(host))


def verdict_too_late_held(host):
    _judged_once(host, on_fail="refuse")
    return _while_nothing_is_scored(host, lambda release: api(host))


def late_and_refused(host):
    _judged_once(host, on_fail="refuse", refuse_unchecked=True)
    return _while_nothing_is_scored(host, lambda release: page(host))


def late_and_refused_held(host):
    _judged_once(host, on_fail="refuse", refuse_unchecked=True)
    return _while_nothing_is_scored(host, lambda release: api(host))


def late_and_nothing_retrieved(host):
    _judged_once(host, on_fail="refuse", refuse_unchecked=True)
    return _while_nothing_is_scored(host, lambda release: page(host, QUESTION))


def late_and_json(host):
    _judged_once(host, on_fail="annotate")
    host.model.answer = '{"colour": "purple"}'
    return _while_nothing_is_scored(host, lambda release: api(host))


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
    ("acting", "answer_of", "refuse"), ("repair", "choose", "repair"),
    ("repair", "repair_message", "repair"), ("repair", "repair_snippets", "repair"),
    ("repair", "chat_prompt", "repair"), ("repair", "repair_state", "repair"),
    ("repair", "watched_lock", "repair"), ("repair", "answer_of", "repair"),
)  # fmt: skip


def faults(host):
    """What a reader gets where one of our functions raises: on the page, and held back over the API."""

    def fail(*args, **kwargs):
        raise ZeroDivisionError("made to raise")

    got = {}
    for place, name, mode in FAULTS:
        module = importlib.import_module(f"exllama_guard.host.acting.{place}")
        original = getattr(module, name)
        setattr(module, name, fail)
        host.settings(on_fail=mode)
        try:
            got[f"{place}.{name}"] = [page(host)["internal"], api(host)["internal"]]
        finally:
            setattr(module, name, original)
    assert host.monitor.wait_until_idle(120)
    return {"got": got, "told": list(host.monitor.snapshot(None).problems)}


SCENARIOS = (
    pass_stands, annotate_page, annotate_api, annotate_completion, annotate_notebook, refuse_page,
    refuse_thinking, refuse_api_streamed, refuse_api_sent, refuse_api_whole, nothing_retrieved_streams,
    refuse_notebook, repair_page, repair_attachment, repair_api_streamed, repair_whole, repair_completion,
    repair_worse, repair_twice, repair_empty, repair_breaks, repair_stopped, repair_too_slow,
    repair_while_another_waits, repair_in_parallel, continued, with_tools, as_json, under_a_grammar,
    stopped_answer, first_answer_awaits_its_models, first_answer_awaits_its_models_held, first_answer_stopped,
    verdict_too_late, verdict_too_late_held, late_and_refused, late_and_refused_held,
    late_and_nothing_retrieved, late_and_json, client_goes_during_repair,
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
