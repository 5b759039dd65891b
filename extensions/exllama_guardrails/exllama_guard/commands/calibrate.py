"""`calibrate`: places the limits of ΔS for one embedder on a gold set, beside what the present limit says."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from exllama_guard.commands import command_parser
from exllama_guard.errors import GuardError, UserError
from exllama_guard.probes.measures import Calibration, Verdict, calibrate, read_pairs
from exllama_guard.settings import Settings

_HELP = """\
The gold set has one JSON object a line, with the passage that the answer stands in:
  {"question": "How large is the cache?", "anchor": "The cache holds 8192 tokens and is reset when full."}
A file in SQuAD form (data / paragraphs / qas) does as well. At least 20 questions are needed; 100 are better.

example:
  python3 extensions/exllama_guardrails calibrate gold.jsonl

prints the lines to put into settings.yaml. Docs: docs/calibration.md

With --reader a language model is measured instead: does it tell statements that a document supports from
wrong ones, and does that make the verdict better? Docs: docs/second-reader.md
  python3 extensions/exllama_guardrails calibrate --reader models/SmolLM2-135M-Instruct
"""


def run(argv: Sequence[str]) -> int:
    """Exit status: 0 it was measured and printed, 2 it could not be."""
    options = _parser().parse_args(argv)
    from exllama_guard.assembly import embedder_for

    try:
        if options.reader is not None:
            from exllama_guard.commands.calibrate_reader import measured, reader_lines

            print("\n".join(reader_lines(measured(options.reader, options.embedder, options.rows))))
            return 0
        if options.gold is None:
            raise UserError("Name a gold set, or a model with --reader.")
        pairs = read_pairs(Path(options.gold))
        result = calibrate(pairs, embedder_for(options.embedder), seed=options.limit)
    except GuardError as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 2
    print("\n".join(report_lines(result)))
    return 0


def report_lines(result: Calibration) -> list[str]:
    """The report in plain lines: what was measured, both verdicts, the settings to copy."""
    good_enough = result.placed.balanced_accuracy - result.seed.balanced_accuracy < 0.01
    return [
        f"Embedder {result.embedder_id}, {result.pairs} questions.",
        f"The right passage is the nearest for {result.nearest_right:.1%} of them.",
        _line("limit in use", result.seed),
        _line("placed limit", result.placed),
        "The limit in use is as good on this gold set; there is no need to change it."
        if good_enough
        else "To use the placed limits, put these lines into settings.yaml:",
        f"exllama_guardrails-distance_pass: {result.accept:.2f}",
        f"exllama_guardrails-distance_fail: {result.reject:.2f}",
    ]


def _line(name: str, verdict: Verdict) -> str:
    return (
        f"{name}: ΔS ≤ {verdict.limit:.2f} accepts {verdict.anchors_accepted:.1%} of the right passages and "
        f"{verdict.decoys_accepted:.1%} of the nearest wrong ones "
        f"(balanced accuracy {verdict.balanced_accuracy:.3f})"
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "calibrate",
        "Places the limits of ΔS for an embedder between right and nearest wrong passages.",
        _HELP,
    )
    parser.add_argument("gold", nargs="?", help="gold set: JSON lines with question and anchor, or SQuAD")
    parser.add_argument(
        "--reader",
        nargs="?",
        const="",
        metavar="MODEL",
        help="measure a model as a reader of statements instead: a Hugging Face folder or a GGUF file, "
        "read by transformers, or GGUF@llamacpp (default: the small one)",
    )
    parser.add_argument(
        "--rows", type=int, default=200, help="statements to read with --reader (default: %(default)s)"
    )
    parser.add_argument(
        "--embedder", default="", help="sentence-transformers folder (default: the bundled one)"
    )
    parser.add_argument(
        "--limit", type=float, default=Settings().distance_pass, help="limit in use (default: %(default)s)"
    )
    return parser
