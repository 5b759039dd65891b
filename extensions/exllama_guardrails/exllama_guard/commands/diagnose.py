"""`diagnose`: writes the diagnostic prompt of a recorded turn, filled from measurements only."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from exllama_guard.backends import read_json
from exllama_guard.commands import command_parser
from exllama_guard.commands.probing import add_run_options, opened, running
from exllama_guard.core.turns import TurnReport
from exllama_guard.errors import GuardError, UserError
from exllama_guard.probes.doctor import Findings, ReadMode, diagnosis_of, modes_of_report, observe_turns
from exllama_guard.probes.measures import LambdaReport
from exllama_guard.trace import TraceRecord, read_traces

_HELP = """\
Prints a prompt for a model: paste it into a chat. The numbers come from the turn's trace; --model lets λ be
measured, too (six short answers). What was not measured is listed on standard error, with how to measure it.

Exit status: 0 printed, 2 could not run.

example:
  python3 extensions/exllama_guardrails diagnose user_data/exllama_guardrails/traces
"""


def run(argv: Sequence[str]) -> int:
    """Exit status: 0 printed, 2 could not run."""
    options = _parser().parse_args(argv)
    try:
        from exllama_guard.trace import report_of

        record, chat = _chosen(options.traces, options.turn)
        turn = report_of(record)
        if not turn.request.question:
            raise UserError("This turn was recorded without text; switch trace_text on and ask again.")
        extensions = record.extensions if options.extensions is None else tuple(options.extensions)
        found = Findings(
            turn,
            extensions,
            _probed(turn, options) if options.model else None,
            _modes(options.compare),
            observations=observe_turns([report_of(one) for one in chat]),
        )
        diagnosis = diagnosis_of(found)
    except GuardError as error:
        print(f"diagnose: {error}", file=sys.stderr)
        return 2
    print(diagnosis.prompt)
    for offer in diagnosis.offers:
        print(f"Not measured yet. {offer}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("diagnose", "Writes the diagnostic prompt of a turn.", _HELP)
    parser.add_argument("traces", type=Path, metavar="TRACES", help="folder of traces")
    parser.add_argument("--turn", default="", help="trace_id of the turn (default: the last one)")
    parser.add_argument("--model", help="[LABEL=]PATH[@PRECISION]: measures λ with this model")
    parser.add_argument("--max-tokens", type=int, default=96, help="of one answer, with --model (96)")
    parser.add_argument(
        "--extensions", nargs="*", help="extensions that were on (default: those in the trace)"
    )
    parser.add_argument("--compare", type=Path, help="JSON report of `compare`: the effect of quantisation")
    add_run_options(parser)
    return parser


def _modes(path: Path | None) -> tuple[ReadMode, ...] | None:
    return None if path is None else modes_of_report(read_json(path))


def _chosen(folder: Path, turn_id: str) -> tuple[TraceRecord, list[TraceRecord]]:
    """The turn, and the turns of its chat up to it, oldest first.

    Raises:
        UserError: There is no such turn.
    """
    records = list(read_traces(folder))
    chosen = [record for record in records if not turn_id or record.trace_id == turn_id]
    if not chosen:
        what = f"no turn {turn_id}" if turn_id else "no trace"
        raise UserError(f"There is {what} in {folder}; name the folder that holds traces-*.jsonl.")
    record = chosen[-1]
    before = records[: records.index(record) + 1]
    return record, [one for one in before if one.chat_id == record.chat_id]


def _probed(turn: TurnReport, options: argparse.Namespace) -> LambdaReport:
    from exllama_guard.assembly import embedder_for
    from exllama_guard.probes import LambdaProbe, Sampling, run_probe

    sampling = Sampling(max_tokens=options.max_tokens)
    probe = LambdaProbe(turn.request.question, turn.request.snippets, sampling=sampling)
    with opened(options.model) as mode, running(options.keep, options.quiet) as runner:
        return run_probe(probe, mode, runner, embedder=embedder_for(options.embedder)).report
