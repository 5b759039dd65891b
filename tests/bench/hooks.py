"""Prints what each hook and each step of a reply costs on the reply's path: `python tests/bench/hooks.py`.

A chat of 200 messages, a prompt of 30,000 characters, one attachment of 1 MB; no knowledge folder.
The limit is held against processor time: wall time also holds the waiting for a processor on a busy machine.
The baseline of a step is the same generator without the extension.
"""

from __future__ import annotations

import argparse
import sys
import time
import types
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "extensions" / "exllama_guardrails"))

LIMIT_MS = 1.0


def main() -> int:
    """Exit status 1 when a hook's p99 is above the limit of 1 ms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2_000)
    runs = parser.parse_args().runs
    host = _host()
    from exllama_guard.grounding.passages import split_passages
    from exllama_guard.host import hooks

    state = _state()
    history = state["history"]
    rows = [
        ("history_modifier", lambda: hooks.history_modifier(history)),
        ("state_modifier", lambda: hooks.state_modifier(state)),
        ("chat_input_modifier", lambda: hooks.chat_input_modifier("What?", "What?", state)),
        ("input_modifier (chat)", lambda: hooks.input_modifier("What?", state, is_chat=True)),
        ("input_modifier (completion)", lambda: hooks.input_modifier("What?", state)),
        ("output_modifier", lambda: hooks.output_modifier("An answer.", state, is_chat=True)),
        ("start of a reply, observed", lambda: next(_reply(host, state))),
    ]
    print(
        f"{'on the reply path, n = ' + str(runs):34}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}{'cpu p99':>10}"
    )
    worst = 0.0
    for name, call in rows:
        p50, p99, longest, cpu = _timed(call, runs)
        worst = max(worst, cpu)
        print(f"{name:34}{p50:10.4f}{p99:10.4f}{longest:10.4f}{cpu:10.4f}")
    plain, observed = _per_step(host, state)
    print(
        f"\none step of a reply: {plain:.2f} µs without, {observed:.2f} µs with "
        f"({observed / plain:.1f} times)"
    )
    text = state["history"]["metadata"]["user_0"]["attachments"][0]["content"]
    started = time.perf_counter()
    passages = split_passages(text)
    print(f"off the path: {len(text):,} characters cut into {len(passages):,} passages in "
          f"{(time.perf_counter() - started) * 1000:.0f} ms")  # fmt: skip
    print(f"\nworst p99 {worst:.3f} ms; limit {LIMIT_MS} ms: {'kept' if worst <= LIMIT_MS else 'BROKEN'}")
    return 0 if worst <= LIMIT_MS else 1


def _timed(call, runs):
    """Milliseconds of one call: wall p50, p99, longest, and p99 of this thread's processor time."""
    wall, cpu = [], []
    for _ in range(runs):
        started, started_cpu = time.perf_counter(), time.thread_time()
        call()
        cpu.append((time.thread_time() - started_cpu) * 1000)
        wall.append((time.perf_counter() - started) * 1000)
    wall.sort()
    cpu.sort()
    return wall[runs // 2], wall[int(runs * 0.99)], wall[-1], cpu[int(runs * 0.99)]


def _per_step(host, state):
    """Microseconds of one step of a reply of 2,000 steps: (without the extension, with it), best of 5."""
    original = host._generate_reply._exllama_guard_original

    def each(function):
        best = float("inf")
        for _ in range(5):
            started = time.perf_counter()
            steps = sum(1 for _ in function("prompt", dict(state), is_chat=True, for_ui=True))
            best = min(best, (time.perf_counter() - started) / steps)
        return best * 1e6

    return each(original), each(host._generate_reply)


def _reply(host, state):
    return host._generate_reply("x " * 15_000, state, is_chat=True, for_ui=True)


def _state():
    sentence = "The fence waits for two equal runs, and then it lets the reader's request pass. "
    content = sentence * 13_000
    attached = [{"name": "big.txt", "type": "text/plain", "content": content}]
    internal = [[f"Question {n}?", sentence * 4] for n in range(100)]
    history = {
        "internal": internal,
        "visible": internal,
        "metadata": {"user_0": {"attachments": attached}, **{f"assistant_{n}": {} for n in range(100)}},
    }
    return {"history": history, "unique_id": "chat", "stream": True, "instruction_template_str": "t" * 4_000}


def _host():
    """The smallest host: the names that the extension looks for, and a generator that yields at once."""

    def _generate_reply(
        question, state, stopping_strings=None, is_chat=False, escape_html=False, for_ui=False
    ):
        yield from text_generation.generate_reply_HF(question, question, state)

    def generate_reply_HF(question, original_question, state, stopping_strings=None, is_chat=False):
        yield from steps

    steps = ["word " * (count + 1) for count in range(2_000)]
    text_generation = types.ModuleType("modules.text_generation")
    text_generation._generate_reply = _generate_reply
    text_generation.generate_reply_HF = generate_reply_HF
    shared = types.ModuleType("modules.shared")
    shared.model, shared.model_name, shared.stop_everything, shared.settings = object(), "bench", False, {}
    shared.args = types.SimpleNamespace(loader="Transformers", multi_user=False)
    package = types.ModuleType("modules")
    package.shared, package.text_generation = shared, text_generation
    sys.modules.update(
        {"modules": package, "modules.shared": shared, "modules.text_generation": text_generation}
    )
    from exllama_guard.host.session import session
    from exllama_guard.host.turn import observe

    now = session()
    now.monitor.score_live = now.monitor.score_final = lambda *_: (
        None
    )  # the scoring thread is another benchmark
    now.observe(True)
    now.patches.replace(text_generation, "_generate_reply", observe.observing(now))
    now.patches.replace(text_generation, "generate_reply_HF", observe.seeing_prompt)
    return text_generation


if __name__ == "__main__":
    raise SystemExit(main())
