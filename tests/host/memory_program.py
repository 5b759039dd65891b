"""Loads the small model in the embedded host, follows and asks it, unloads it; prints what is left as JSON.

Done twice: as it is, and with strong references to the model, whose remains must be seen.
"""

from __future__ import annotations

import ctypes
import gc
import json
import threading
from pathlib import Path

import torch
from embedded_program import load, shared, text_generation
from exllama_guard.host.lifecycle import hooks as lifecycle_hooks
from exllama_guard.host.lifecycle.path import HostPath
from exllama_guard.lifecycle import Lifecycle
from exllama_guard.settings import Settings


class Silent:
    record_event = report_problem = clear_problem = staticmethod(lambda *given: None)


def resident_bytes():
    """After what the allocator keeps for later was given back."""
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def tensor_bytes():
    """Of every tensor that anything holds; shared storage once."""
    found = {}
    for thing in gc.get_objects():
        if isinstance(thing, torch.Tensor):
            storage = thing.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def one_load(life, threads):
    """What a load, a warm-up, a request and an unload leave."""
    before = tensor_bytes()
    watched = load()
    life.model_changed(lifecycle_hooks.loaded_model())
    state = dict(shared.settings) | {"max_new_tokens": 4, "do_sample": False, "seed": 1}
    answer = list(text_generation.generate_reply("Hello", state, None, is_chat=True))[-1]
    for thread in threads:
        thread.join(300)
    seen = {"answer": answer, "loaded": tensor_bytes() - before, "resident_loaded": resident_bytes()}
    shared.model = shared.tokenizer = None
    shared.model_name = "None"
    gc.collect()
    seen["left_before_it_is_told"] = tensor_bytes() - before
    life.model_changed(lifecycle_hooks.loaded_model())
    gc.collect()
    return seen | {
        "alive": watched() is not None,
        "left": tensor_bytes() - before,
        "resident_left": resident_bytes(),
    }


def main():
    threads = []

    def spawn(job):
        threads.append(threading.Thread(target=job, daemon=True))
        threads[-1].start()

    shared.generation_lock = threading.Lock()
    life = Lifecycle(lambda: Settings(warmup_limit_s=300.0), HostPath(), Silent(), spawn)
    text_generation._generate_reply = lifecycle_hooks.gating(life)(text_generation._generate_reply)
    weak = one_load(life, threads)
    lifecycle_hooks.reference = lambda thing: lambda: thing
    print(json.dumps({"weak": weak, "strong": one_load(life, threads)}))


if __name__ == "__main__":
    main()
