"""What the guard costs a reply: tokens a second and time to first token, on against off, in pairs.

The host is the embedded default's, with the loader's own stream in place of transformers; the extension is set
up in it as always. Prompts carry snippets, so that support and ΔS are scored while the reply is written. A
third reply is watched but not scored while it is written: it tells the cost of watching from that of scoring, and how
far two replies differ by themselves. Which of the three comes first goes round.

--written: the model's steps give the time only, the text is written down; for a model of random weights.

Run: python tests/gpu/run_overhead.py --library exllamav2 --models gpu-models --out gpu-results
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

import gpu_record  # noqa: F401 - puts the extension on the path
from exllama_guard.core.gold import read_gold_file
from exllama_guard.core.records import Gate
from exllama_guard.probes.exllama_mode import ExLlamaMode
from exllama_guard.probes.writer import Sampling
from exllama_guard.sources.marked_block import format_block
from gpu_record import EXTENSION, HERE, ROOT, Record, options
from sections import spec_of, spread

TOKENS = 200
WAYS = ("on", "off", "watched")


def main() -> int:
    given = options(__doc__ or "", _arguments)
    record = Record(f"overhead_{given.library}{given.folder and '_' + given.folder}", given)
    record.run("overhead", lambda values: _overhead(given, values, record))
    return record.close()


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--library", default="exllamav2", choices=("exllamav2", "exllamav3"))
    parser.add_argument("--folder", default="")
    parser.add_argument("--embedder", default="")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--written", action="store_true", help="the reply's words are written down")


def _overhead(given, values: dict[str, Any], record: Record) -> None:
    folder = given.folder or ("exl2-4.0" if given.library == "exllamav2" else "exl3-4.0")
    mode = ExLlamaMode(spec_of(given, given.library, folder))
    host = _host(mode, given)
    items = read_gold_file(HERE / "gold.jsonl").items
    prompts = [
        mode._template(f"{format_block(item.snippets)}\n\n{item.question} Then explain it at length.")
        for item in items
    ]
    jobs = _counted(host["monitor"])
    pairs = []
    for number in range(-3, given.pairs):
        prompt = prompts[number % len(prompts)]
        _reply(host, mode, prompt, "off", number)  # what a new length of prompt costs is paid here
        first = number % len(WAYS)
        order, found = (*WAYS[first:], *WAYS[:first]), {}
        for way in order:
            jobs.clear()
            found[way] = _reply(host, mode, prompt, way, number)
            found[way]["scoring_ms"] = dict(jobs)
        if number >= 0:
            pairs.append({"prompt": number % len(prompts), **found})
            values["pairs"] = pairs
            record.keep("overhead", values)
    values["folder"] = folder
    for way in ("on", "watched"):
        speed = [pair[way]["tokens_per_s"] / pair["off"]["tokens_per_s"] for pair in pairs]
        ttft = [(pair[way]["ttft_s"] - pair["off"]["ttft_s"]) * 1e3 for pair in pairs]
        values[f"speed_{way}_over_off"] = spread(speed)
        values[f"ttft_difference_ms_{way}"] = spread(ttft)
    off_speed = [pair["off"]["tokens_per_s"] for pair in pairs]
    values["tokens_per_s_off"] = spread(off_speed)
    turns = host["monitor"].snapshot().turns
    values["turns_seen"] = len(turns)
    values["scored"] = sum(turn.verdict.gate is not Gate.NOT_MEASURED for turn in turns)
    values["problems"] = list(host["monitor"].snapshot().problems)
    on, watched = values["speed_on_over_off"], values["speed_watched_over_off"]
    record.row(
        f"overhead, {folder}",
        f"{len(pairs)} pairs: tokens/s on over off {on['median']:.4f} (p5 {on['p5']:.4f}), watched only "
        f"{watched['median']:.4f}, {statistics.median(off_speed):.0f} tokens/s off; first token "
        f"{values['ttft_difference_ms_on']['median']:+.2f} ms, watched only "
        f"{values['ttft_difference_ms_watched']['median']:+.2f}; {values['turns_seen']} turns observed, "
        f"{values['scored']} scored",
    )


def _counted(monitor) -> dict[str, list[float]]:
    """Milliseconds of processor time of each job of the scoring thread, by kind; `monitor.watch_only` drops those
    that run while a reply is written."""
    jobs: dict[str, list[float]] = {}
    monitor.watch_only = False

    def counting(name, work):
        def counted(*args):
            if monitor.watch_only and name != "_score_final":
                return
            started_s = time.thread_time()
            work(*args)
            jobs.setdefault(name, []).append((time.thread_time() - started_s) * 1e3)

        return counted

    worker = monitor._worker
    for name in ("_prepare", "_score_live", "_score_final"):
        setattr(worker, name, counting(name, getattr(worker, name)))
    return jobs


def _reply(host, mode: ExLlamaMode, prompt: str, way: str, seed: int) -> dict[str, Any]:
    mode._forget()
    text_generation = host["text_generation"]
    text_generation._generate_reply = host["ways"][way != "off"]  # off: as without the extension
    host["monitor"].watch_only = way == "watched"
    state = {
        **host["settings"],
        "max_new_tokens": TOKENS,
        "seed": seed,
        "stream": True,
        "history": _history(prompt),
    }
    started_s, first_s, steps = time.perf_counter(), 0.0, 0
    for text in text_generation.generate_reply(prompt, state, [], is_chat=True):
        if text and not first_s:
            first_s = time.perf_counter() - started_s
        steps += bool(text)
    took_s = time.perf_counter() - started_s
    host["monitor"].wait_until_idle(30)
    return {"tokens_per_s": (steps - 1) / max(1e-9, took_s - first_s), "ttft_s": first_s, "steps": steps}


def _words(seed: int) -> Iterator[str]:
    """Words of our own passages without end, in an order and with openings of this seed."""
    drawn = random.Random(seed)
    passages = [
        snippet.text for item in read_gold_file(HERE / "gold.jsonl").items for snippet in item.snippets
    ]
    sentences = [f"{one}." for text in passages for one in " ".join(text.split()).split(". ") if one]
    while True:
        opening = drawn.choice(
            ("As told above,", "Here", "By the same page,", f"In part {drawn.randint(2, 99)},")
        )
        for word in f"{opening} {drawn.choice(sentences)}".split():
            yield f"{word} "


def _history(prompt: str) -> dict[str, Any]:
    return {"internal": [[prompt, ""]], "visible": [[prompt, ""]], "metadata": {}}


def _host(mode: ExLlamaMode, given) -> dict[str, Any]:
    """The embedded default's modules, the extension loaded by them, and the loader's stream as their generator."""
    sys.path.insert(0, str(EXTENSION / "exllama_guard" / "standalone" / "webui"))
    sys.path.insert(0, str(ROOT))
    from modules import extensions, shared, text_generation

    def stream(question, original_question, state, stopping_strings=None, is_chat=False):
        reply, words = "", _words(state["seed"]) if given.written else None
        yield reply
        for chunk, _ in mode.stream(
            question, Sampling(0.7, 0.95, 0, int(state["max_new_tokens"])), state["seed"]
        ):
            reply += chunk if words is None else next(words)
            yield reply

    held = mode.held
    holder = type("Exllamav2Model" if given.library == "exllamav2" else "Exllamav3Model", (), {})()
    for name in ("model", "cache", "tokenizer", "generator", "config", "max_tokens", "loras", "draft_model"):
        setattr(holder, name, getattr(held, name, None))
    holder.draft_cache = holder.parallel_generator = None
    shared.args.extensions = extensions.available_extensions = ["exllama_guardrails"]
    shared.args.loader = "ExLlamav2" if given.library == "exllamav2" else "ExLlamav3"
    shared.args.model_dir = str(given.models)
    shared.args.cpu = False
    shared.user_data_dir = given.out / "user_data"
    shared.settings["exllama_guardrails-embedder"] = given.embedder
    text_generation.generate_reply_HF = stream
    plain = text_generation._generate_reply
    extensions.load_extensions()
    from exllama_guard import lifecycle
    from exllama_guard.host import hooks

    shared.model_name = mode.spec.path.name
    shared.model = shared.tokenizer = holder
    end_s = time.monotonic() + 90
    while time.monotonic() < end_s and lifecycle.current().snapshot().report is None:
        time.sleep(0.2)
    monitor = hooks._monitor
    monitor.warm()
    monitor.wait_until_idle(60)
    return {
        "monitor": monitor,
        "text_generation": text_generation,
        "settings": dict(shared.settings),
        "ways": {True: text_generation._generate_reply, False: plain},
        "holder": holder,
    }


if __name__ == "__main__":
    raise SystemExit(main())
