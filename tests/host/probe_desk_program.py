"""Runs the probes' desk over a real small model in the embedded host; prints as JSON what came of it."""

from __future__ import annotations

import json
import sys
import time
import types
from dataclasses import replace
from pathlib import Path

import torch
from embedded_program import chat, extensions, load, shared, start
from exllama_guard.backends.bundled import bundled_gguf
from exllama_guard.core.turns import Reader
from exllama_guard.errors import UserError
from exllama_guard.host.session import session
from exllama_guard.probes.doctor.diagnosis import Diagnosis
from exllama_guard.probes.generation import GREEDY, Sampling
from exllama_guard.probes.lambda_probe import LambdaProbe

ME = Reader()
QUESTION = "How many tokens does the cache hold?"
GOLD = {
    "id": "a",
    "question": QUESTION,
    "anchor": "The cache holds 8192 tokens.",
    "snippets": ["The cache holds 8192 tokens."],
}


def say(text, n_tokens=12):
    state = dict(shared.settings) | {
        "max_new_tokens": n_tokens,
        "do_sample": False,
        "stream": True,
        "history": {"internal": [], "visible": [], "metadata": {}},
        "unique_id": "chat-1",
        "mode": "instruct",
    }
    started_s = time.monotonic()
    first_s = None
    for part in chat.generate_chat_reply(text, state, loading_message=False, for_ui=True):
        if first_s is None and part["internal"] and part["internal"][-1][1]:
            first_s = time.monotonic() - started_s
    return first_s


def finished(state, limit_s=240):
    until_s = time.monotonic() + limit_s
    while state().running:
        assert time.monotonic() < until_s, state()
        time.sleep(0.05)
    return state()


def rows(checkup):
    return {one.symptom.id: [one.verdict.value, one.evidence] for one in checkup.observations}


def refused(call, *arguments, **more):
    try:
        call(*arguments, **more)
    except UserError as error:
        return str(error)
    raise AssertionError("it was started")


def main(user_data):
    seen = {}
    monitor = start(user_data)
    load()
    desk = session().probes

    seen["before any answer"] = refused(desk.diagnosis, ME)
    say(QUESTION)
    monitor.wait_until_idle(120)

    # the diagnostic prompt: first what is cheap, then with λ
    first = desk.diagnosis(ME)
    assert isinstance(first, Diagnosis), (first, monitor.snapshot(None))
    seen["prompt"], seen["offers"] = first.prompt, first.offers
    desk.start_missing(ME)
    seen["second start"] = refused(desk.start_missing, ME)
    state = finished(lambda: desk.probe_state(ME))
    seen["problem"], seen["n"] = state.problem, state.result.report.n if state.result else None
    seen["prompt with λ"] = desk.diagnosis(ME).prompt
    seen["offers with λ"] = desk.diagnosis(ME).offers
    seen["another reader"] = desk.probe_state(Reader(username="eve")).result is None
    seen["turns after probe"] = len(monitor.snapshot(ME).turns)
    seen["kept"] = len((Path(user_data) / "exllama_guardrails" / "probes.jsonl").read_text().splitlines())
    started_s = time.monotonic()
    desk.start_missing(ME)
    finished(lambda: desk.probe_state(ME))
    seen["resumed_s"] = time.monotonic() - started_s
    seen["report"] = desk.probe_report(ME).lines[0].sentence

    # a user's turn while a probe runs waits for one generation of the probe, no longer
    slow = LambdaProbe("Tell a long story about the sea.", sampling=Sampling(0.7, max_tokens=40))
    took_s = []
    generator = desk._parts.generator
    original = type(generator).write

    def timed(self, *args):
        before_s = time.monotonic()
        written = original(self, *args)
        took_s.append(time.monotonic() - before_s)
        return written

    type(generator).write = timed
    desk.start_probe(ME, slow)
    while desk.probe_state(ME).progress is None or desk.probe_state(ME).progress.done < 1:
        time.sleep(0.01)
    time.sleep(0.1)
    alone_s = say(QUESTION, 1)
    seen["user_first_s"] = alone_s
    desk.stop_probe(ME)
    stopped = finished(lambda: desk.probe_state(ME))
    seen["stopped"] = stopped.result.stopped
    seen["probe_s"] = max(took_s)
    type(generator).write = original
    seen["user_alone_s"] = say(QUESTION, 1)
    seen["lock_free"] = not shared.generation_lock.locked()

    # the gold set, with answers
    desk.start_verify(ME, json.dumps(GOLD), answers=True)
    verified = finished(lambda: desk.verify_state(ME))
    seen["verified"] = [verified.problem, [r.gate.value for r in verified.result.results]]
    seen["answers"] = [form.answer for form in verified.result.results[0].forms]
    seen["bad gold"] = refused(desk.start_verify, ME, "no json", answers=False)

    # which extension changes the prompt
    seen["replay of nothing"] = refused(desk.start_replay, ME)
    pirate = types.ModuleType("pirate_script")
    pirate.input_modifier = lambda string, state, is_chat=False: f"{string} Answer with the word arr only."
    extensions.state["pirate"] = [True, 9, pirate]
    before = len(monitor.snapshot(ME).turns)
    desk.start_replay(ME, questions=1, seeds=2)
    replayed = finished(lambda: desk.replay_state(ME))
    del extensions.state["pirate"]
    seen["replay"] = [replayed.problem, [line.sentence for line in desk.replay_report(ME).lines]]
    seen["replay λ of"] = [[name, one.n] for name, one in replayed.result.agreement.items()]
    seen["turns of replay"] = len(monitor.snapshot(ME).turns) - before

    # the doctor, with the very weights as reference
    frequencies = [m.inv_freq.clone() for m in shared.model.modules() if hasattr(m, "inv_freq")]
    desk.start_doctor(ME, f"{bundled_gguf()}@float32")
    done = finished(lambda: desk.doctor_state(ME))
    seen["doctor problem"], seen["doctor"] = done.problem, rows(done.result)
    after = [m.inv_freq for m in shared.model.modules() if hasattr(m, "inv_freq")]
    seen["untouched"] = all(bool((a == b).all()) for a, b in zip(frequencies, after, strict=True))

    # one matrix of the weights changed, as by a device that computes something else
    finished_doctor = lambda: rows(finished(lambda: desk.doctor_state(ME)).result)["EX5"]  # noqa: E731
    weight = shared.model.model.layers[3].mlp.down_proj.weight
    with torch.no_grad():
        weight *= 1.5
    desk.start_doctor(ME)
    seen["changed weights"] = finished_doctor()
    with torch.no_grad():
        weight /= 1.5
    seen["bad reference"] = refused(desk.start_doctor, ME, "/nowhere")

    # what use shows: a canary run of NaN
    seen["findings"] = [one.symptom.id for one in desk.findings(ME)]
    session().lifecycle.saw_bad_logits()
    seen["findings after NaN"] = [[o.symptom.id, o.verdict.value, o.evidence] for o in desk.findings(ME)]

    # no model any more
    shared.model = shared.tokenizer = None
    shared.model_name = "None"
    desk.start_probe(ME, replace(slow, sampling=GREEDY))
    seen["no model"] = finished(lambda: desk.probe_state(ME)).problem
    desk.start_doctor(ME)
    seen["doctor without model"] = rows(finished(lambda: desk.doctor_state(ME)).result)["PC1"]
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1])
