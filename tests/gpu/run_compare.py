"""The acceptance table: modes of one model, weights × KV cache, 20 questions, λ of 3 forms × 2 seeds in each.

Run: python tests/gpu/run_compare.py --library exllamav2 --models gpu-models --out gpu-results
"""

from __future__ import annotations

import argparse
import time
from functools import partial

from exllama_guard.core.comparison import ModeRun, compare_modes
from exllama_guard.core.fixed_text import PLAIN_ENGLISH
from exllama_guard.core.gold import read_gold_file
from exllama_guard.core.probe_reports import compare_report
from exllama_guard.core.records import NotScored
from exllama_guard.core.report import as_json
from exllama_guard.embedders.sentence_transformers import load_embedder
from exllama_guard.probes.compare import CompareJob, ModeSource, compare
from exllama_guard.probes.exllama_mode import ExLlamaMode, bits_of, kind_of
from exllama_guard.probes.run import Runner
from exllama_guard.probes.writer import Sampling

# isort: off - gpu_record puts the extension on the path
from gpu_record import HERE, Record, options, plain
from sections import spec_of

# isort: on

WEIGHTS = {
    "exllamav2": (("fp16", "fp16"), ("exl2-8.0", "8.0 bpw"), ("exl2-4.0", "4.0 bpw")),
    "exllamav3": (("fp16-padded", "fp16"), ("exl3-8.0", "8.0 bpw"), ("exl3-4.0", "4.0 bpw")),
}
CACHES = ("fp16", "q8", "q4")


def main() -> int:
    given = options(__doc__ or "", _arguments)
    part = f"_{given.take.replace(',', '_')}" if given.take else ""
    record = Record(f"compare_{given.library}{part}", given)
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


def _compare(given, values, record: Record) -> None:
    gold = read_gold_file(HERE / "gold.jsonl")
    values["gold_problems"] = list(gold.problems)
    sources = []
    for folder, label in WEIGHTS[given.library]:
        for cache in given.caches.split(","):
            spec = spec_of(given, given.library, folder, cache)
            name = f"{label} × {cache.upper()}"
            sources.append(ModeSource(name, kind_of(spec), bits_of(spec), partial(ExLlamaMode, spec)))
    if given.take:
        sources = [sources[0], *(sources[int(number)] for number in given.take.split(","))]
    job = CompareJob(
        gold.items[: given.items],
        max_tokens=48,
        forced_texts=(PLAIN_ENGLISH,),
        probed_items=given.items,
        drawn=Sampling(0.7, 0.95, 0, 48),
    )
    embedder = load_embedder(given.embedder)
    embedder.embed(["warm"])
    started_s = time.perf_counter()
    runs: list[ModeRun] = []
    runner = Runner()
    for place, source in enumerate(sources):
        # one by one, so that what is finished is on disk; the reference's replies are kept by the runner
        wanted = [sources[0], source] if place else [source]
        found = compare(job, wanted, runner, embedder=embedder)
        runs = [*runs, found[-1]] if runs else list(found)
        values["modes"] = [_told(run) for run in runs]
        values["took_s"] = time.perf_counter() - started_s
        record.keep("compare", values)
    told = {"embedder": embedder.id, "questions": len(job.items), "temperature": 0.7}
    values["report"] = as_json(compare_report(tuple(runs), told, stopped=False))
    for run, verdict in zip(runs[1:], compare_modes(runs[0], runs[1:]), strict=True):
        if run.problem:
            record.row(run.label, run.problem)
            continue
        drift = "not measured" if isinstance(run.drift, NotScored) else f"{run.drift.kl:.4f}"
        record.row(
            run.label,
            f"E_resonance {verdict.resonance.gate.value}, ΔS drift {_number(verdict.drift)}, KL {drift}, "
            f"speed × {_short(verdict.speed)}, accuracy {_short(verdict.accuracy_change)}, JSON "
            f"{_short(verdict.json_rate)}, λ → {_short(verdict.convergent)}, {verdict.gate.value}",
        )
    reference = runs[0]
    values["reference"] = {"label": reference.label, "modes": len(runs)}


def _told(run: ModeRun) -> dict[str, object]:
    return {
        "label": run.label,
        "kind": run.kind,
        "bits": run.bits,
        "problem": run.problem,
        "drift": plain(run.drift),
        "floor": plain(run.floor),
        "json_valid": plain(run.json_valid),
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
