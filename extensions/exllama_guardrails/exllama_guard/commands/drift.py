"""`drift`: measures after how many tokens a warm cache makes a model write something else."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exllama_guard.commands import command_parser
from exllama_guard.core.backend import Backend
from exllama_guard.core.measures import NotScored
from exllama_guard.errors import GuardError
from exllama_guard.lifecycle import BackendPath, DriftReport, measure_drift, steps_up_to

_HELP = """\
Sends up to --max-tokens tokens through the model and compares, at 256, 512, 1024 ... tokens, what it then
writes greedily with what it wrote with a cold cache. Prints one JSON object; progress goes to standard
error; Ctrl+C stops and prints what was measured so far.
In the panel the same is measured through the host, with its own loader.
Exit status: 0 no numeric drift up to the tested maximum, 1 some (or it was stopped), 2 could not run.

example:
  python3 extensions/exllama_guardrails drift --max-tokens 2048
"""


def run(argv: Sequence[str]) -> int:
    """Exit status: 0 no numeric drift, 1 drift or stopped, 2 could not run."""
    options = _parser().parse_args(argv)
    cancel = threading.Event()
    try:
        steps_up_to(options.max_tokens)  # refuses a useless length before the model is loaded
        from exllama_guard.standalone.direct_model import open_model

        direct = open_model(options.model, _say)
        report = _interruptible(direct.backend, options.max_tokens, cancel)
    except GuardError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(_as_json(report), ensure_ascii=False, indent=1))
    return 0 if report.numeric_at_tokens is None and not report.stopped else 1


def _interruptible(backend: Backend, max_tokens: int, cancel: threading.Event) -> DriftReport:
    """The measurement; Ctrl+C makes it end at its next token."""
    before = signal.signal(signal.SIGINT, lambda number, frame: cancel.set())
    try:
        return measure_drift(
            BackendPath(backend),
            backend,
            max_tokens,
            progress=lambda share, text: _say(f"{share:5.0%}  {text}"),
            cancel=cancel,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _as_json(report: DriftReport) -> dict[str, Any]:
    return {
        "tested_tokens": report.tested_tokens,
        "floor": _plain(report.floor),
        "points": [{"tokens": p.tokens, "distance": _plain(p.distance)} for p in report.points],
        "numeric_drift_at_tokens": _plain(report.numeric_at_tokens),
        "context_drift_at_tokens": _plain(report.context_at_tokens),
        "stopped": report.stopped,
        "says": list(report.sentences()),
    }


def _plain(value: float | NotScored | None) -> float | str | None:
    return str(value) if isinstance(value, NotScored) else value


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("drift", _HELP)
    parser.add_argument("--model", type=Path, help="a Hugging Face folder or a GGUF file")
    parser.add_argument("--max-tokens", type=int, default=8192, help="longest run in tokens (8192)")
    return parser
