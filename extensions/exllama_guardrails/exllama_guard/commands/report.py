"""`report`: recorded turns, or recorded runs on GPUs, as one HTML, Markdown or JSON file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from exllama_guard.backends import read_json
from exllama_guard.commands import command_parser
from exllama_guard.commands.probing import add_report_options, write_reports
from exllama_guard.errors import GuardError, UserError
from exllama_guard.probes.reports import chat_report, environment_rows, is_recording, recorded_report
from exllama_guard.report import Report
from exllama_guard.trace import read_traces

_HELP = """\
Exit status: 0 written, 2 could not run.

example:
  python3 extensions/exllama_guardrails report user_data/exllama_guardrails/traces --html report.html
  python3 extensions/exllama_guardrails report extensions/exllama_guardrails/docs/gpu --html gpu.html
"""


def run(argv: Sequence[str]) -> int:
    """Exit status: 0 written, 2 could not run."""
    options = _parser().parse_args(argv)
    try:
        if options.html is options.markdown is options.json is None:
            raise UserError("Nothing to write: name a file with --html, --markdown or --json.")
        write_reports(_recorded(options.traces) or _of_turns(options), options)
    except GuardError as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    return 0


def _recorded(folder: Path) -> Report | None:
    """The report of the recordings in the folder (scripts of tests/gpu write them); None without any."""
    found = {file.stem: read_json(file) for file in sorted(folder.glob("*.json"))}
    recordings = {name: data for name, data in found.items() if is_recording(data)}
    return recorded_report(recordings) if recordings else None


def _of_turns(options: argparse.Namespace) -> Report:
    """ΔS and E_resonance by turn.

    Raises:
        UserError: There are no traces.
    """
    from exllama_guard.trace import report_of

    records = [r for r in read_traces(options.traces) if options.chat in (None, r.chat_id)]
    if not records:
        raise UserError(f"There are no such traces in {options.traces}; name the folder of traces-*.jsonl.")
    turns = [report_of(record) for record in records[-options.last :]]
    embedders = {t.distances.embedder_id for t in turns if t.distances.embedder_id}
    models = {t.request.model.name for t in turns if t.request.model}
    environment = environment_rows(models=", ".join(sorted(models)), embedders=", ".join(sorted(embedders)))
    return chat_report(turns, environment, options.window)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("report", "Writes recorded turns as one file.", _HELP)
    parser.add_argument("traces", type=Path, metavar="TRACES", help="folder of traces, or of recorded runs")
    parser.add_argument("--chat", help="only this chat's id")
    parser.add_argument("--last", type=int, default=200, help="how many of the last turns (200)")
    parser.add_argument("--window", type=int, default=5, help="turns of E_resonance's mean (5)")
    add_report_options(parser)
    return parser
