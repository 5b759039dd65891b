"""`replay`: compares the same questions recorded with and without extensions, and can ask them again."""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from exllama_guard.commands import command_parser
from exllama_guard.commands.probing import add_report_options, report_command
from exllama_guard.errors import GuardError, UserError
from exllama_guard.probes.measures import replay_of
from exllama_guard.probes.reports import environment_rows, replay_report
from exllama_guard.report import Report
from exllama_guard.trace import TraceRecord, read_traces

_HELP = """\
1. With the other extensions off, chat (or ask again with --url); copy the traces folder aside: the baseline.
2. Switch one extension on, restart the WebUI, and let the same questions be asked again:
     replay --baseline off --url http://127.0.0.1:5000
   The questions go through the WebUI's API, greedy, one at a time; the guardrails record them there.
3. Compare: which extension changed the prompt, lost citations, moved ΔS, flipped a verdict:
     replay --baseline off --against websearch=on1 --against memory=on2 --html replay.html

Exit status: 0 nothing changed, 1 something did, 2 could not run.
"""


def run(argv: Sequence[str]) -> int:
    """Exit status: 0 nothing changed, 1 something did, 2 could not run."""
    options = _parser().parse_args(argv)
    if not options.url:
        return report_command("replay", options, _compared)
    try:
        return _ask_again(_records(options.baseline), options)
    except GuardError as error:
        print(f"replay: {error}", file=sys.stderr)
        return 2


def _compared(options: argparse.Namespace) -> Report:
    baseline = _records(options.baseline)
    if not options.against:
        raise UserError("Nothing to compare: name a folder with --against, or a WebUI with --url.")
    replays = [replay_of(baseline, _records(path), label) for label, path in map(_named, options.against)]
    return replay_report(replays, environment_rows(baseline_turns=len(baseline)))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("replay", "Compares recordings of the same questions.", _HELP)
    parser.add_argument("--baseline", type=Path, required=True, help="folder of traces with extensions off")
    parser.add_argument("--against", action="append", default=[], help="[LABEL=]FOLDER; may be repeated")
    parser.add_argument("--url", default="", help="a WebUI with --api: asks the baseline's questions again")
    parser.add_argument("--max-tokens", type=int, default=256, help="of one answer, with --url (256)")
    parser.add_argument(
        "--timeout", type=float, default=300.0, help="seconds for one answer, with --url (300)"
    )
    add_report_options(parser)
    return parser


def _named(text: str) -> tuple[str, Path]:
    label, _, place = text.rpartition("=")
    return label or Path(place).name, Path(place)


def _records(folder: Path) -> list[TraceRecord]:
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; name the folder that holds traces-*.jsonl.")
    records = list(read_traces(folder))
    if not records:
        raise UserError(f"There are no traces in {folder}; chat with traces switched on first.")
    return records


def _ask_again(baseline: Sequence[TraceRecord], options: argparse.Namespace) -> int:
    questions = list(dict.fromkeys(r.question for r in baseline if r.question))
    if not questions:
        raise UserError("The baseline was recorded without text; switch trace_text on and record it anew.")
    for number, question in enumerate(questions, start=1):
        print(f"{number} of {len(questions)}", file=sys.stderr, flush=True)
        _ask(question, options)
    print(
        f"{len(questions)} questions were asked; the WebUI's traces folder now holds them.", file=sys.stderr
    )
    return 0


def _ask(question: str, options: argparse.Namespace) -> None:
    """Sends one question; the answer is recorded where the WebUI runs."""
    url = options.url.rstrip("/") + "/v1/chat/completions"
    if not url.startswith(("http://", "https://")):
        raise UserError(
            f"{options.url} is no address; it begins with http://, such as http://127.0.0.1:5000."
        )
    body = {
        "messages": [{"role": "user", "content": question}],
        "max_tokens": options.max_tokens,
        "temperature": 1,
        "top_k": 1,  # greedy with every loader
        "seed": 1,
        "stream": False,
    }
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked above
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=options.timeout) as answer:  # noqa: S310 - as above
            answer.read()
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise UserError(f"{url} did not answer ({error}); start the WebUI with --api.") from error
