"""The acceptance table: modes of one model, weights × KV cache, 20 questions, λ of 3 forms × 2 seeds in each.

First the λ answers are written: by one process a mode for ExLlamaV2, because one of them leaves most of the GPU idle, and
many at a time by one process for ExLlamaV3. Then this process opens each mode alone, so that its speed is that of the mode, and judges.

Run: python tests/gpu/run_compare.py --library exllamav2 --models gpu-models --out gpu-results
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from functools import partial

import gpu_record  # noqa: F401 - puts the extension on the path
from exllama_guard.core.measures import NotScored
from exllama_guard.embedders.sentence_transformers import load_embedder
from exllama_guard.probes.compare import CompareJob, ModeSource, probe_of, run_compare
from exllama_guard.probes.generation import Generation, Sampling
from exllama_guard.probes.gold import read_gold_file
from exllama_guard.probes.lambda_probe import jobs_of
from exllama_guard.probes.measures.comparison import ModeRun, compare_modes
from exllama_guard.probes.measures.fixed_text import PLAIN_ENGLISH
from exllama_guard.probes.modes.exllama import ExLlamaMode, bits_of, kind_of
from exllama_guard.probes.modes.exllama_open import ExLlamaSpec
from exllama_guard.probes.reports.probe import compare_report
from exllama_guard.probes.run import Job, Runner
from exllama_guard.probes.run_cache import RunCache, run_key
from exllama_guard.report.json import as_json
from gpu_record import HERE, Record, options, plain, side_by_side
from sections import spec_of
from together import write_together

WEIGHTS = {
    "exllamav2": (("fp16", "fp16"), ("exl2-8.0", "8.0 bpw"), ("exl2-4.0", "4.0 bpw")),
    "exllamav3": (("fp16-padded", "fp16"), ("exl3-8.0", "8.0 bpw"), ("exl3-4.0", "4.0 bpw")),
}
CACHES = ("fp16", "q8", "q4")
TOGETHER_TOKENS = 16384  # of cache: room for many replies at a time


def main() -> int:
    given = options(__doc__ or "", _arguments)
    if given.write >= 0:
        return _write(given)
    record = Record(f"compare_{given.library}", given)
    if not given.no_workers and not given.no_lambda:
        record.run("lambda", lambda values: _by_workers(given, values, record))
    record.run("compare", lambda values: _compare(given, values, record))
    return record.close()


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--library", default="exllamav2", choices=sorted(WEIGHTS))
    parser.add_argument(
        "--embedder", default="", help="a sentence-transformers folder (default: the bundled)"
    )
    parser.add_argument("--caches", default=",".join(CACHES))
    parser.add_argument("--items", type=int, default=20)
    parser.add_argument("--take", default="", help="numbers of the modes to run beside the reference: 1,2")
    parser.add_argument("--no-workers", action="store_true", help="let each mode write its λ answers in turn")
    parser.add_argument("--no-lambda", action="store_true", help="λ is not probed: a quarter of the time")
    parser.add_argument("--limit-s", type=float, default=300.0, help="for the workers")
    parser.add_argument("--write", type=int, default=-1, help="a worker's: the number of its mode")


def _specs(given) -> list[ExLlamaSpec]:
    """The modes, the reference first."""
    specs = [
        replace(spec_of(given, given.library, folder, cache), label=f"{label} × {cache.upper()}")
        for folder, label in WEIGHTS[given.library]
        for cache in given.caches.split(",")
    ]
    return [specs[0], *(specs[int(number)] for number in given.take.split(","))] if given.take else specs


def _sources(given) -> list[ModeSource]:
    return [
        ModeSource(spec.label, kind_of(spec), bits_of(spec), partial(ExLlamaMode, spec))
        for spec in _specs(given)
    ]


def _job(given) -> CompareJob:
    gold = read_gold_file(HERE / "gold.jsonl")
    if gold.problems:
        raise ValueError(gold.problems)
    return CompareJob(
        gold.items[: given.items],
        max_tokens=48,
        forced_texts=(PLAIN_ENGLISH,),
        probed_items=0 if given.no_lambda else given.items,
        drawn=Sampling(0.7, 0.95, 0, 48),
        timed_tokens=96,
    )


def _kept(given, number: int):
    return given.out / f"kept_{given.library}_{number}.jsonl"


def _write(given) -> int:
    """The λ answers of one mode, or of all modes of ExLlamaV3, which writes many at a time."""
    job, sources = _job(given), _sources(given)
    for number in range(len(sources)) if given.library == "exllamav3" else [given.write]:
        runner, started_s = Runner(cache=RunCache(_kept(given, number))), time.perf_counter()
        jobs = [one for item in job.items for one in jobs_of(probe_of(job, item))]
        if given.library == "exllamav3":
            mode = ExLlamaMode(replace(_specs(given)[number], context_tokens=TOGETHER_TOKENS))
            asked = [one for one in jobs if runner.cache.get(_key(mode, one)) is None]
            written = write_together(
                mode, [(mode._template(one.text), one.seed, None) for one in asked], job.drawn
            )
            for one, (text, tokens) in zip(asked, written, strict=True):
                runner.cache.add(_key(mode, one), Generation(text, tokens, 0.0, 0.0))
        else:
            mode = sources[number].open()
            for _ in runner.run(mode, jobs):
                pass
        mode.close()
        print(f"mode {number}: {len(jobs)} answers in {time.perf_counter() - started_s:.0f} s", flush=True)
    return 0


def _key(mode: ExLlamaMode, job: Job) -> str:
    return run_key(mode.id, job.text, job.sampling, job.seed)


def _by_workers(given, values, record: Record) -> None:
    numbers = range(len(_sources(given)))
    workers = [0] if given.library == "exllamav3" else numbers
    commands = {
        f"compare_{given.library}_{number}": [
            sys.executable, __file__, "--library", given.library, "--models", given.models, "--out", given.out,
            "--caches", given.caches, "--items", given.items, f"--take={given.take}", "--write", number,
            *(["--dry-run"] if given.dry_run else []),
        ]
        for number in workers
    }  # fmt: skip
    values["exit"] = side_by_side(commands, given.out, given.limit_s)
    values["written"] = [len(RunCache(_kept(given, number))) for number in numbers]
    record.row("λ answers", f"{sum(values['written'])} by {len(commands)} processes")


def _compare(given, values, record: Record) -> None:
    job, sources = _job(given), _sources(given)
    joined = given.out / f"kept_{given.library}.jsonl"
    files = [_kept(given, number) for number in range(len(sources))]
    joined.write_bytes(b"".join(file.read_bytes() for file in files if file.exists()))
    embedder = load_embedder(given.embedder)
    embedder.embed(["warm"])
    started_s = time.perf_counter()
    record.data["modes"] = modes = []

    def tell(run: ModeRun) -> None:  # what is finished is on disk
        modes.append(_told(run))
        values["took_s"] = time.perf_counter() - started_s
        record.keep("compare", values)

    runs = run_compare(job, sources, Runner(cache=RunCache(joined)), embedder=embedder, report_run=tell)
    told = {"embedder": embedder.id, "questions": len(job.items), "temperature": 0.7}
    values["report"] = as_json(compare_report(runs, told, stopped=False))
    verdicts = compare_modes(runs[0], runs[1:])
    for run, verdict in zip(runs[1:], verdicts, strict=True):
        if run.problem:
            record.row(run.label, run.problem)
            continue
        drift = "not measured" if isinstance(run.drift, NotScored) else f"{run.drift.kl:.4f}"
        record.row(
            run.label,
            f"E_resonance {verdict.resonance.gate.value}, ΔS drift {_number(verdict.drift)}, KL {drift}, "
            f"time a token × {_short(verdict.speed)}, accuracy {_short(verdict.accuracy_change)}, JSON "
            f"{_short(verdict.json_rate)}, λ → {_short(verdict.convergent)}, {verdict.gate.value}",
        )


def _told(run: ModeRun) -> dict[str, object]:
    return {
        "label": run.label,
        "kind": run.kind,
        "bits": run.bits,
        "problem": run.problem,
        "drift": plain(run.drift),
        "floor": plain(run.floor),
        "json_valid": plain(run.json_valid),
        "token_s": plain(run.token_s),
        "items": plain(run.items),
        "lambda": {name: plain(report.verdict) for name, report in run.probes.items()},
        "agreement": {name: plain(report) for name, report in run.probes.items()},
    }


def _number(drift) -> str:
    return _short(getattr(drift.interval, "mean", None))


def _short(value) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    raise SystemExit(main())
