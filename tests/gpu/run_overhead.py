"""What the guard costs a reply: tokens a second and time to first token, on against off, in pairs.

The host is the embedded default's, with the loader's own stream in place of transformers; the extension is set
up in it as always. Prompts carry snippets, so that support and ΔS are scored while the reply is written. A
third reply is written without the guard again: how far two replies differ by themselves. Which of the three
comes first goes round. Beside the pairs, each guarded reply tells what it lost itself: the time of its tokens while
something was scored, above its other tokens' median.

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
from beside import Job, lost_beside, told_jobs
from exllama_guard.core.measures import Gate
from exllama_guard.probes.generation import Sampling
from exllama_guard.probes.gold import read_gold_file
from exllama_guard.probes.modes.exllama import ExLlamaMode
from exllama_guard.sources.marked_block import format_block
from gpu_record import EXTENSION, HERE, ROOT, Record, options
from sections import spec_of, spread

WAYS = ("on", "off", "again")


def main() -> int:
    given = options(__doc__ or "", _arguments)
    length = f"_{given.tokens}" if given.tokens != 200 else ""
    record = Record(f"overhead_{given.library}{given.folder and '_' + given.folder}{length}", given)
    record.run("overhead", lambda values: _overhead(given, values, record))
    return record.close()


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--library", default="exllamav2", choices=("exllamav2", "exllamav3"))
    parser.add_argument("--folder", default="")
    parser.add_argument("--embedder", default="")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=200, help="of a reply")
    parser.add_argument("--limit-s", type=float, default=600.0, help="no pair begins later")
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
    jobs = told_jobs(host["monitor"])
    pairs: list[dict[str, Any]] = []
    end_s = time.monotonic() + given.limit_s
    for number in range(-3, given.pairs):
        if time.monotonic() > end_s:
            break
        prompt = prompts[number % len(prompts)]
        if number < len(prompts):
            _reply(
                host, mode, prompt, "off", number, min(given.tokens, 50)
            )  # a new length of prompt costs once
        first = number % len(WAYS)
        found = {}
        for way in (*WAYS[first:], *WAYS[:first]):
            jobs.clear()
            times_s, found[way] = _reply(host, mode, prompt, way, number, given.tokens)
            if way == "on":
                found[way] |= _lost(times_s, jobs)
        if number >= 0:
            pairs.append({"prompt": number % len(prompts), **found})
            values["pairs"] = pairs
            record.keep("overhead", values)
    _summed_up(folder, pairs, host["monitor"], values, record)


def _summed_up(folder: str, pairs, monitor, values: dict[str, Any], record: Record) -> None:
    values["folder"] = folder
    if len(pairs) < 2:
        raise RuntimeError(f"{len(pairs)} pairs within the time limit; 2 are needed")
    for way in ("on", "again"):
        speed = [pair[way]["tokens_per_s"] / pair["off"]["tokens_per_s"] for pair in pairs]
        ttft = [(pair[way]["ttft_s"] - pair["off"]["ttft_s"]) * 1e3 for pair in pairs]
        values[f"speed_{way}_over_off"] = {**spread(speed), "interval": _interval(speed)}
        values[f"ttft_difference_ms_{way}"] = {**spread(ttft), "interval": _interval(ttft)}
    off_speed = [pair["off"]["tokens_per_s"] for pair in pairs]
    values["tokens_per_s_off"] = spread(off_speed)
    values["lost_share"] = spread([pair["on"]["lost_share"] for pair in pairs])
    values["live_jobs"] = sum(pair["on"]["live_jobs"] for pair in pairs)
    turns = monitor.snapshot().turns
    values["turns_kept"] = len(turns)
    values["scored"] = sum(turn.verdict.gate is not Gate.NOT_MEASURED for turn in turns)
    values["problems"] = list(monitor.snapshot().problems)
    on, again = values["speed_on_over_off"], values["speed_again_over_off"]
    record.row(
        f"overhead, {folder}",
        f"{len(pairs)} pairs of {int(statistics.median(pair['off']['steps'] for pair in pairs))} tokens: tokens/s on "
        f"over off {_told(on)}, off over off {_told(again)}, {statistics.median(off_speed):.0f} tokens/s off; first "
        f"token {_told(values['ttft_difference_ms_on'], '+.2f')} ms; lost beside scoring "
        f"{values['lost_share']['median']:.4f} of a reply, p95 {values['lost_share']['p95']:.4f}; live scores "
        f"{values['live_jobs']}; {values['turns_kept']} turns kept, {values['scored']} scored",
    )


def _told(found: dict[str, Any], form: str = ".4f") -> str:
    low, high = found["interval"]
    return f"{found['median']:{form}} ({low:{form}} to {high:{form}})"


def _interval(values: list[float], rounds: int = 2000) -> tuple[float, float]:
    """95 % interval of the median, by drawing pairs again."""
    drawn = random.Random(5)
    medians = sorted(statistics.median(drawn.choices(values, k=len(values))) for _ in range(rounds))
    return medians[int(0.025 * rounds)], medians[int(0.975 * rounds)]


def _lost(times_s: list[float], jobs: list[Job]) -> dict[str, Any]:
    lost = lost_beside(times_s, jobs)
    return {
        "lost_share": lost.share,
        "tokens_beside": lost.tokens,
        "live_jobs": sum(job.name == "_score_live" for job in jobs),
        "scoring_ms": [(job.name, round(job.worked_ms, 3)) for job in jobs],
    }


def _reply(
    host, mode: ExLlamaMode, prompt: str, way: str, seed: int, tokens: int
) -> tuple[list[float], dict[str, Any]]:
    """When each token came, and what a reply is told by."""
    mode._forget()
    text_generation = host["text_generation"]
    text_generation._generate_reply = host["ways"][way == "on"]  # else: as without the extension
    state = {
        **host["settings"],
        "max_new_tokens": tokens,
        "seed": seed,
        "stream": True,
        "history": _history(prompt),
    }
    started_s = time.perf_counter()
    replies = text_generation.generate_reply(prompt, state, [], is_chat=True)
    times_s = [time.perf_counter() for text in replies if text]
    host["monitor"].wait_until_idle(30)
    speed = (len(times_s) - 1) / max(1e-9, times_s[-1] - times_s[0])
    return times_s, {"tokens_per_s": speed, "ttft_s": times_s[0] - started_s, "steps": len(times_s)}


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
    from exllama_guard.host.session import session

    shared.model_name = mode.spec.path.name
    shared.model = shared.tokenizer = holder
    end_s = time.monotonic() + 90
    while time.monotonic() < end_s and session().lifecycle.snapshot().report is None:
        time.sleep(0.2)
    monitor = session().monitor
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
