"""Locked replies to random schemas, each checked by a validator of another make; speed beside free text.

The speed is read first, alone; then worker processes share the replies, because one of them leaves most of the
GPU idle. A worker's replies so far are on disk every 25.

Run: python tests/gpu/run_lock.py --library exllamav2 --models gpu-models --out gpu-results
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gpu_record  # noqa: F401 - puts the extension on the path
from exllama_guard.errors import SchemaError
from exllama_guard.probes.generation import Sampling
from exllama_guard.probes.modes.exllama import ExLlamaMode
from exllama_guard.tools.calls import compile_checker
from exllama_guard.tools.grammar.closed import close_schema
from exllama_guard.tools.locks.compiled import compile_plan, plan_answer
from exllama_guard.tools.locks.vocabulary import vocabulary_from_file
from exllama_guard.tools.strict_json import read_json
from gpu_record import Record, options, side_by_side
from lock_material import random_object
from sections import opened, spec_of, spread
from together import write_together

FOLDERS = {"exllamav2": "exl2-4.0", "exllamav3": "exl3-4.0"}
REPLIES_A_SCHEMA = 10
DRAWN = Sampling(0.9, 1.0, 0, 256)
TIMED = Sampling(0.9, 1.0, 0, 64)  # of the replies whose speed is read
KEPT_EVERY = 48
TOGETHER_TOKENS = 16384  # of cache: room for many replies at a time


def main() -> int:
    given = options(__doc__ or "", _arguments)
    folder = given.folder or FOLDERS[given.library]
    spec = spec_of(given, given.library, folder)
    if given.part:
        record = Record(f"lock_{given.library}_part{given.part.partition('/')[0]}", given)
        record.run("answers", lambda values: _answers(spec, given, values, record))
        return record.close()
    record = Record(f"lock_{given.library}", given)
    record.run("speed", lambda values: _speed(spec, given, values, record))
    record.run("answers", lambda values: _by_workers(given, folder, values, record))
    return record.close()


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--library", default="exllamav2", choices=sorted(FOLDERS))
    parser.add_argument("--folder", default="")
    parser.add_argument("--count", type=int, default=500, help="replies in all")
    parser.add_argument(
        "--pairs", type=int, default=24, help="locked and free replies whose speed is compared"
    )
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--limit-s", type=float, default=400.0, help="for the workers, and for the pairs")
    parser.add_argument(
        "--part", default="", help="a worker's: 1/4 takes every fourth reply from the second on"
    )


def _locks(spec, eos: int, wanted: int, values: dict[str, Any]) -> list[tuple[Any, Any, Any]]:
    """(schema, lock, checker) of `wanted` random objects, the same ones in every process."""
    rng, made = random.Random(11), []
    words = vocabulary_from_file(spec.path / "tokenizer.json", [eos])
    while len(made) < wanted:
        schema = close_schema(random_object(rng))  # an open one lets a small model add keys without end
        if not schema["properties"]:
            continue
        try:
            made.append((schema, compile_plan(plan_answer(schema, ""), words), compile_checker(schema)))
        except SchemaError as error:
            values.setdefault("not_compiled", []).append(str(error))
    return made


def _prompt(schema: dict[str, Any]) -> str:
    return f"Answer with JSON that fits the keys {', '.join(schema['properties'])}.\nJSON: "


def _speed(spec, given, values: dict[str, Any], record: Record) -> None:
    """Pairs of a locked and a free reply to the same prompt, in turns; tokens a second after the first."""
    with opened(spec) as (mode, _):
        locks = _locks(spec, int(mode.held.tokenizer.eos_token_id), 12, values)
        values["pairs"] = pairs = []
        end_s = time.monotonic() + given.limit_s
        for number in range(-2, 4 * given.pairs):
            schema, compiled, _ = locks[number % len(locks)]
            found = {}
            for locked in (True, False) if number % 2 else (False, True):
                sampling, lock = (TIMED, compiled) if locked else (TIMED, None)
                found[locked] = _timed(mode, _prompt(schema), sampling, number + 1000, lock)[1]
            if number >= 0 and min(one["tokens"] for one in found.values()) > 12:
                pairs.append({"locked": found[True], "free": found[False]})
                record.keep("speed", values)
            if len(pairs) == given.pairs or time.monotonic() > end_s:
                break
    if len(pairs) < 2:
        raise RuntimeError(f"{len(pairs)} pairs within the time limit; 2 are needed")
    rates = {
        kind: [(pair[kind]["tokens"] - 1) / pair[kind]["after_first_s"] for pair in pairs]
        for kind in ("locked", "free")
    }
    values["tokens_per_s"] = {kind: spread(found) for kind, found in rates.items()}
    ratios = [one / other for one, other in zip(rates["locked"], rates["free"], strict=True)]
    values["locked_over_free"] = spread(ratios)
    first_ms = [(pair["locked"]["ttft_s"] - pair["free"]["ttft_s"]) * 1e3 for pair in pairs]
    values["ttft_difference_ms"] = spread(first_ms)
    record.row(
        f"speed, {spec.path.name}",
        f"{len(pairs)} pairs: locked {statistics.median(rates['locked']):.0f} tokens/s, free "
        f"{statistics.median(rates['free']):.0f}, ratio {statistics.median(ratios):.3f} "
        f"(p5 {spread(ratios)['p5']:.3f}); first token {statistics.median(first_ms):+.1f} ms",
    )


def _answers(spec, given, values: dict[str, Any], record: Record) -> None:
    """This worker's share of the replies."""
    part, parts = (int(number) for number in given.part.split("/"))
    seen = {"valid": 0, "cut at the limit": 0, "invalid": 0}
    values |= {"outcomes": seen, "bad": [], "tokens": 0}
    started_s = time.perf_counter()
    with opened(replace(spec, context_tokens=TOGETHER_TOKENS)) as (mode, _):
        schemas = max(1, given.count // REPLIES_A_SCHEMA)
        locks = _locks(spec, int(mode.held.tokenizer.eos_token_id), schemas, values)
        values["schemas"] = len(locks)
        values["compiled_s"] = time.perf_counter() - started_s
        mine = list(range(part, given.count, parts))
        for first in range(0, len(mine), KEPT_EVERY):
            numbers = mine[first : first + KEPT_EVERY]
            chosen = [locks[number % len(locks)] for number in numbers]
            wanted = [(_prompt(one[0]), number, one[1]) for one, number in zip(chosen, numbers, strict=True)]
            written = write_together(mode, wanted, DRAWN)
            for (schema, _, check), number, (text, tokens) in zip(chosen, numbers, written, strict=True):
                read = read_json(text.strip())
                kind = "valid" if read.ok and not check(read.value) else "invalid"
                if kind == "invalid" and tokens >= DRAWN.max_tokens:
                    kind = "cut at the limit"
                seen[kind] += 1
                values["tokens"] += tokens
                if kind != "valid":
                    told = {"schema": schema, "text": text[:600], "outcome": kind, "seed": number}
                    values["bad"].append(told)
            values["took_s"] = time.perf_counter() - started_s
            record.keep("answers", values)
    record.row(f"part {given.part}", f"{seen} in {time.perf_counter() - started_s:.0f} s")


def _by_workers(given, folder: str, values: dict[str, Any], record: Record) -> None:
    """Lets the workers write and adds up what they have done, finished or not."""
    commands = {
        f"lock_{given.library}_part{part}": [
            sys.executable, __file__, "--library", given.library, "--folder", folder, "--models", given.models,
            "--out", given.out, "--count", given.count, "--part", f"{part}/{given.workers}",
            *(["--dry-run"] if given.dry_run else []),
        ]
        for part in range(given.workers)
    }  # fmt: skip
    exits = side_by_side(commands, given.out, given.limit_s)
    done = list(_parts(given))
    outcomes = {
        kind: sum(part["outcomes"][kind] for part in done)
        for kind in ("valid", "cut at the limit", "invalid")
    }
    values |= {
        "asked": given.count,
        "outcomes": outcomes,
        "bad": [one for part in done for one in part["bad"]],
        "tokens": sum(part["tokens"] for part in done),
        "schemas": max((part.get("schemas", 0) for part in done), default=0),
        "workers": given.workers,
        "exit": exits,
    }
    record.row(
        f"answers, {folder}",
        f"{outcomes['valid']} valid of {sum(outcomes.values())} written ({given.count} asked) to {values['schemas']} "
        f"schemas, {outcomes['invalid']} invalid, {outcomes['cut at the limit']} cut at {DRAWN.max_tokens} tokens",
    )
    if sum(outcomes.values()) < given.count:
        raise RuntimeError(f"{sum(outcomes.values())} of {given.count} replies were written: {exits}")


def _parts(given) -> Iterator[dict[str, Any]]:
    for part in range(given.workers):
        file: Path = given.out / f"lock_{given.library}_part{part}.json"
        if file.exists():
            yield json.loads(file.read_text(encoding="utf-8"))["sections"]["answers"]


def _timed(mode: ExLlamaMode, prompt, sampling, seed, compiled) -> tuple[str, dict[str, float]]:
    """(text, its timing) of one reply."""
    started_s, first_s, parts, tokens = time.perf_counter(), 0.0, [], 0
    for chunk, made in mode.stream(prompt, sampling, seed, compiled):
        first_s = first_s or time.perf_counter() - started_s
        parts.append(chunk)
        tokens += made
    took_s = time.perf_counter() - started_s
    return "".join(parts), {"tokens": tokens, "ttft_s": first_s, "after_first_s": max(1e-9, took_s - first_s)}


if __name__ == "__main__":
    raise SystemExit(main())
