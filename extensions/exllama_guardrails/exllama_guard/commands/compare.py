"""`compare`: runs a gold set through several modes of a model and holds each against the first."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from exllama_guard.commands import command_parser
from exllama_guard.commands.probing import (
    add_report_options,
    add_run_options,
    questions,
    report_command,
    running,
)
from exllama_guard.errors import UserError
from exllama_guard.probes import CompareJob, ModeSource, Sampling, run_compare
from exllama_guard.probes.measures import PLAIN_ENGLISH
from exllama_guard.probes.modes import MODE_HELP, Choice, choose_mode
from exllama_guard.probes.reports import compare_report, environment_rows
from exllama_guard.report import Report

_HELP = f"""\
{MODE_HELP}
The first mode is the reference: the most precise one. One mode is loaded at a time; one that cannot be
loaded is told, the others are still compared.
With --keep FILE finished generations are kept: after Ctrl+C or a crash the same command goes on.

Exit status: 0 every mode passes, 1 one does not (or could not be measured), 2 could not run.

example:
  python3 extensions/exllama_guardrails compare --gold gold.jsonl --mode fp32=models/A@float32 \\
      --mode int8=models/A@int8 --keep compare.jsonl --html compare.html
"""


def run(argv: Sequence[str]) -> int:
    """Exit status: 0 every mode passes, 1 not, 2 could not run."""
    return report_command("compare", _parser().parse_args(argv), _compared)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "compare", "Holds modes of a model against a reference, over the same questions.", _HELP
    )
    parser.add_argument(
        "--gold", type=Path, required=True, help="JSON lines: question, anchor, snippets, answer"
    )
    parser.add_argument(
        "--mode", action="append", default=[], help="[LABEL=]PATH[@PRECISION]; the reference first"
    )
    parser.add_argument("--reference", default="", help="label of the reference (default: the first mode)")
    parser.add_argument("--max-tokens", type=int, default=48, help="of one answer (48)")
    parser.add_argument("--probe-items", type=int, default=0, help="first questions whose λ is probed (0)")
    parser.add_argument("--temperature", type=float, default=0.7, help="of the λ probe (0.7)")
    parser.add_argument(
        "--text", type=Path, action="append", default=[], help="text to compare distributions on"
    )
    add_run_options(parser)
    add_report_options(parser)
    return parser


def _compared(options: argparse.Namespace) -> Report:
    from exllama_guard.assembly import embedder_for

    specs = _specs(options.mode, options.reference)
    gold = questions("compare", options.gold)
    job = CompareJob(
        gold.items,
        options.max_tokens,
        (PLAIN_ENGLISH, *(_text(path) for path in options.text)),
        options.probe_items,
        drawn=Sampling(options.temperature, max_tokens=options.max_tokens),
    )
    sources = [
        ModeSource(spec.label, spec.kind, spec.bits, spec.open, spec.open_timed, spec.speed_note)
        for spec in specs
    ]
    embedder = embedder_for(options.embedder)
    with running(options.keep, options.quiet) as runner:
        runs = run_compare(job, sources, runner, embedder=embedder, report_mode=_report_mode)
        stopped = runner.cancel.is_set()
    if not runs or runs[0].problem:
        raise UserError(f"The reference could not be run: {runs[0].problem if runs else 'stopped'}")
    environment = environment_rows(
        embedder=embedder.id, questions=len(gold.items), temperature=options.temperature
    )
    if hasattr(os, "getloadavg"):  # times of a machine that others use say little; absent on Windows
        environment["machine load at the end"] = f"{os.getloadavg()[0]:.1f}"
    return compare_report(runs, environment, stopped=stopped)


def _specs(texts: Sequence[str], reference: str) -> list[Choice]:
    """The modes, the reference first.

    Raises:
        UserError: There are fewer than two, two have one label, or the reference is not among them.
    """
    specs = [choose_mode(text) for text in texts]
    if len(specs) < 2:
        raise UserError(f"{len(specs)} modes were named; a comparison needs at least two --mode.")
    labels = [spec.label for spec in specs]
    if len(set(labels)) < len(labels):
        raise UserError("Two modes have the same label; name them with LABEL=PATH@PRECISION.")
    if reference and reference not in labels:
        raise UserError(f"There is no mode {reference!r}; the modes are {', '.join(labels)}.")
    return sorted(specs, key=lambda spec: spec.label != (reference or labels[0]))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"The text {path} cannot be read ({error.strerror}).") from error


def _report_mode(label: str) -> None:
    print(f"loading {label}", file=sys.stderr, flush=True)
