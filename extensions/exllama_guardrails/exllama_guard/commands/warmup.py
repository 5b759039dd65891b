"""`warmup`: warms a model up, says how cold its first run was, and compares its canary with the last one."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exllama_guard.commands import command_parser
from exllama_guard.core.backend import ModelCard
from exllama_guard.core.folders import user_cache_folder
from exllama_guard.core.measures import NotScored
from exllama_guard.errors import GuardError
from exllama_guard.lifecycle import (
    BackendPath,
    CanaryFinding,
    CanaryKeeper,
    CanaryStore,
    FenceReport,
    run_fence,
)

_HELP = """\
Prints one JSON object: what is loaded (hashes, quantisation, devices), the runs, cold and warm time to first
token, tokens a second, the canary's digest and whether it is the one of the run before.
The model is read by transformers: a Hugging Face folder or a GGUF; without --model the small one.
Exit status: 0 warm and the canary is new or the same, 1 the canary changed or the warm-up failed,
2 could not run.

example:
  python3 extensions/exllama_guardrails warmup --model ~/models/SmolLM2-135M-Instruct
"""


def run(argv: Sequence[str]) -> int:
    """Exit status: 0 warm and the canary is new or the same, 1 changed or failed, 2 could not run."""
    options = _parser().parse_args(argv)
    try:
        from exllama_guard.standalone.direct_model import open_model

        direct = open_model(options.model, lambda text: print(text, file=sys.stderr))
        path = BackendPath(direct.backend)
        report = run_fence(
            path,
            direct.backend.count_tokens,
            limit_s=options.limit_s,
            cancel=threading.Event(),
        )
        card = direct.backend.card()
        finding = CanaryKeeper(CanaryStore(options.canaries), path).compare(card, report)
    except GuardError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(_as_json(card, report, finding), ensure_ascii=False, indent=1))
    changed = finding is not None and finding.same is False
    return 1 if report.failure or changed else 0


def _as_json(card: ModelCard, report: FenceReport, finding: CanaryFinding | None) -> dict[str, Any]:
    return {
        "model": card.name,
        "loader": card.loader,
        "quantisation": card.quantisation.label,
        "cache_type": card.cache_type,
        "context_tokens": card.context_tokens,
        "devices": list(card.shards.devices),
        "model_hash": _plain(card.model_hash),
        "tokenizer_hash": _plain(card.tokenizer_hash),
        "shard_hash": card.shard_hash,
        "state": report.state.value,
        "failure": report.failure,
        "ttft_s": [round(run.ttft_s, 4) for run in report.runs],
        "cold_ttft_s": _plain(report.cold_ttft_s),
        "warm_ttft_s": _plain(report.warm_ttft_s),
        "first_run_ratio": _plain(report.first_run_ratio),
        "first_run_differs": report.first_run_differs,
        "tokens_per_s": _plain(report.tokens_per_s),
        "own_cost_s": round(report.own_cost_s, 4),
        "canary": report.digest,
        "canary_text": report.canary_text,
        "canary_same": None if finding is None else finding.same,
        "canary_says": "" if finding is None else finding.sentence(),
    }


def _plain(value: str | float | NotScored) -> str | float:
    if isinstance(value, NotScored):
        return str(value)
    return round(value, 4) if isinstance(value, float) else value


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("warmup", _HELP)
    parser.add_argument("--model", type=Path, help="a Hugging Face folder or a GGUF file")
    parser.add_argument("--limit-s", type=float, default=60.0, help="longest warm-up in seconds (60)")
    parser.add_argument(
        "--canaries",
        type=Path,
        default=user_cache_folder() / "canaries.json",
        help="the file that keeps canaries from run to run",
    )
    return parser
