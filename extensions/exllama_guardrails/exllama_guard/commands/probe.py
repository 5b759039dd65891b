"""`probe`: asks one question in three forms with two seeds and says whether the answers agree (λ)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from exllama_guard.commands import command_parser
from exllama_guard.commands.probing import (
    add_report_options,
    add_run_options,
    opened,
    report_command,
    running,
)
from exllama_guard.core.snippets import Snippet, make_snippet
from exllama_guard.errors import UserError
from exllama_guard.probes import LambdaProbe, Sampling, run_probe
from exllama_guard.probes.reports import environment_rows, lambda_report
from exllama_guard.report import Report

_HELP = """\
Forms of the question are made without a model; --form names your own (the question itself is always first).
With --keep FILE finished generations are kept: after Ctrl+C or a crash the same command goes on.

Exit status: 0 the answers agree, 1 they do not (or it was stopped), 2 could not run.

example:
  python3 extensions/exllama_guardrails probe --question "How large is the cache?" --snippet notes.txt \\
      --temperature 0.7 --html probe.html
"""


def run(argv: Sequence[str]) -> int:
    """Exit status: 0 convergent, 1 not, 2 could not run."""
    return report_command("probe", _parser().parse_args(argv), _probed)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("probe", "Asks a question in several forms and with several seeds.", _HELP)
    parser.add_argument("--question", required=True)
    parser.add_argument("--model", help="[LABEL=]PATH[@PRECISION] (default: the small model that pip brings)")
    parser.add_argument(
        "--snippet", type=Path, action="append", default=[], help="text file; may be repeated"
    )
    parser.add_argument("--form", action="append", default=[], help="another form; may be repeated")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="seeds (1 2)")
    parser.add_argument(
        "--temperature", type=float, default=0.7, help="0 is greedy: seeds change nothing (0.7)"
    )
    parser.add_argument("--max-tokens", type=int, default=96, help="of one answer (96)")
    parser.add_argument("--strict", action="store_true", help="every answer must agree, instead of 80 %%")
    parser.add_argument("--no-citations", action="store_true", help="answers need not cite their snippet")
    parser.add_argument("--expect-refusal", action="store_true", help="the right answer is a refusal")
    add_run_options(parser)
    add_report_options(parser)
    return parser


def _probed(options: argparse.Namespace) -> Report:
    from exllama_guard.assembly import embedder_for

    probe = LambdaProbe(
        question=options.question,
        snippets=tuple(_snippet(path, place) for place, path in enumerate(options.snippet)),
        forms=(options.question, *options.form) if options.form else (),
        seeds=tuple(dict.fromkeys(options.seeds)),
        sampling=Sampling(options.temperature, max_tokens=options.max_tokens),
        strict=options.strict,
        refusal_expected=options.expect_refusal,
        citations_wanted=False if options.no_citations else None,
    )
    probe.all_forms()  # a wrong question is told before a model is loaded
    with opened(options.model) as mode, running(options.keep, options.quiet) as runner:
        result = run_probe(probe, mode, runner, embedder=embedder_for(options.embedder))
        name = mode.id
    environment = environment_rows(model=name, temperature=options.temperature, seeds=list(probe.seeds))
    return lambda_report(result.report, result.forms, environment, stopped=result.stopped)


def _snippet(path: Path, place: int) -> Snippet:
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise UserError(f"The snippet {path} cannot be read ({error.strerror}).") from error
    if not text:
        raise UserError(f"The snippet {path} is empty.")
    return make_snippet(text, position=place)
