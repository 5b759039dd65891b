"""Runs a real small model in the embedded host and prints, as JSON, what the lifecycle did with it."""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from pathlib import Path

import torch
from embedded_program import load, shared, start, text_generation
from exllama_guard.errors import BackendError
from exllama_guard.host import logits
from exllama_guard.host.lifecycle.path import HostPath
from exllama_guard.host.session import session

PROMPT = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
STATE = {"max_new_tokens": 8, "truncation_length": 2048, "do_sample": False, "stream": True, "seed": 1}


def ask():
    texts = list(text_generation.generate_reply(PROMPT, dict(shared.settings) | STATE, None, is_chat=True))
    return texts[-1] if texts else ""


def wait_for(wanted, limit_s=90):
    until_s = time.monotonic() + limit_s
    while not wanted():
        assert time.monotonic() < until_s, (
            life().snapshot().state,
            session().monitor.snapshot(None).problems,
        )
        time.sleep(0.02)


def life():
    return session().lifecycle


def events(kind):
    return [event.text for event in session().monitor.snapshot(None).events if event.kind == kind]


def main(user_data):
    seen = {}
    start(user_data)

    # a request right after the load, before anything else has heard of it
    model = load()
    seen["answer"] = ask()
    snapshot = life().snapshot()
    seen["state_after_first_answer"] = snapshot.state.value
    seen["waited_s"] = snapshot.last_wait_s
    seen["runs"] = len(snapshot.report.runs)
    seen["own_cost_s"] = snapshot.report.own_cost_s
    wait_for(lambda: life().snapshot().canary is not None and life().snapshot().cache.tokens_since_reset)
    seen["first_canary"] = life().snapshot().canary.same
    seen["tokens"] = life().snapshot().cache.tokens_since_reset
    seen["expected_tokens"] = len(shared.tokenizer.encode(PROMPT)) + len(
        shared.tokenizer.encode(seen["answer"])
    )
    seen["idle"] = session().monitor.wait_until_idle(120)
    seen["problems"] = list(session().monitor.snapshot(None).problems)
    seen["live"] = session().monitor.snapshot(None).live is not None
    seen["turns"] = len(session().monitor.snapshot(None).turns)
    seen["model_hash"] = session().monitor.model.model_hash
    seen["hashes"] = [text for text in events("model") if "shards" in text]
    seen["file_mode"] = oct((Path(user_data) / "exllama_guardrails" / "canaries.json").stat().st_mode & 0o777)

    # NaN out of the model
    broken = shared.model.lm_head.register_forward_hook(lambda module, given, out: out * float("nan"))
    watch = logits.BadLogitsWatch(life())
    with torch.inference_mode():
        scores = shared.model(torch.tensor([[1, 2]])).logits[:, -1]
    assert watch(None, scores) is scores
    seen["problems_with_nan"] = list(session().monitor.snapshot(None).problems)
    broken.remove()
    seen["hook_adds_one"] = len(logits.logits_processor_modifier([], None))

    # the Stop button during a probe
    stopper = threading.Timer(1.0, lambda: setattr(shared, "stop_everything", True))
    stopper.start()
    try:
        HostPath().run("Once upon a time", 500, threading.Event())
    except BackendError as error:
        seen["stopped"] = str(error)
    shared.stop_everything = False

    # a LoRA change, then an unload
    shared.lora_names = ["a-lora"]
    before = len(events("warm-up"))
    ask()
    seen["warm_ups_after_lora"] = len(events("warm-up")) - before
    shared.lora_names = []
    wait_for(lambda: not life().snapshot().requests_waiting)
    shared.model = shared.tokenizer = None
    shared.model_name = "None"
    wait_for(lambda: life().snapshot().state.value == "no model")
    until_s = time.monotonic() + 300
    while model() is not None and time.monotonic() < until_s:
        gc.collect()
        time.sleep(0.1)
    seen["freed"] = model() is None
    seen["lock_free"] = not shared.generation_lock.locked()
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1])
