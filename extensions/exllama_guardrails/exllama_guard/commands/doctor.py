"""`doctor`: looks at a model, what is installed and recorded turns, and names what to repair first."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from exllama_guard.commands import command_parser
from exllama_guard.core.measures import Gate
from exllama_guard.core.turns import TurnReport
from exllama_guard.errors import GuardError, UserError
from exllama_guard.probes.doctor import BUDGET_S, Checkup, Observation, checkup_of, observe_turns

_HELP = """\
Looks at everything that can be had without a WebUI:
  --model      configuration, RoPE base, tokenizer and template of a model, from its files, and by letting the
               model read plain English (with other RoPE bases, too)
  --reference  a second model or precision, [LABEL=]PATH[@PRECISION]: the same fixed tokens through both,
               compared by KL
  --traces     recorded turns: drift, loops, citations, retrieval
and always: torch, CUDA, driver and the loaders' wheels.

Exit status: 0 everything was read and nothing found, 1 findings, 2 the model could not be read, or not as
far as it must be (what and why stands under "Not measured", and under "checks" of --json).

examples:
  python3 extensions/exllama_guardrails doctor --model models/SmolLM2-135M-Instruct
  python3 extensions/exllama_guardrails doctor --model models/A --reference models/B@float32 --json
  python3 extensions/exllama_guardrails doctor --traces user_data/exllama_guardrails/traces
"""


def run(argv: Sequence[str]) -> int:
    """Exit status: 0 everything that was promised was read and nothing found, 1 findings, 2 could not run."""
    options = _parser().parse_args(argv)
    try:
        checkup = checkup_of(_observations(options))
    except (GuardError, OSError) as error:
        print(f"doctor: {error}", file=sys.stderr)
        return 2
    text = json.dumps(checkup.as_json(), ensure_ascii=False, indent=1) if options.json else in_words(checkup)
    print(text)
    return _status(checkup)


def _status(checkup: Checkup) -> int:
    """2 where the weights cannot be read, or a promised look was not made and nothing else was found."""
    unreadable = next(
        (one.evidence for one in checkup.found if one.symptom.id == "W1" and one.inputs.get("unreadable")), ""
    )
    if unreadable:
        print(f"doctor: {unreadable}", file=sys.stderr)
        return 2
    if checkup.found:
        return 1
    for one in checkup.unread:
        print(f"doctor: {one.symptom.id} could not be looked at: {one.evidence}", file=sys.stderr)
    return 2 if checkup.unread else 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("doctor", "Looks for known faults and names what to repair first.", _HELP)
    parser.add_argument(
        "--model", help="[LABEL=]PATH[@PRECISION]: a Hugging Face, EXL2 or EXL3 folder, or a GGUF file"
    )
    parser.add_argument("--reference", help="what --model is held against: [LABEL=]PATH[@PRECISION]")
    parser.add_argument("--files-only", action="store_true", help="read the model's files, do not load it")
    parser.add_argument("--traces", type=Path, help="folder of recorded turns")
    parser.add_argument("--last", type=int, default=50, help="how many of the last turns to look at (50)")
    parser.add_argument(
        "--budget-s",
        type=float,
        default=BUDGET_S,
        help=f"seconds for reading ({BUDGET_S:g}); less: shorter texts",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _observations(options: argparse.Namespace) -> list[Observation]:
    from exllama_guard.probes.doctor import observe_environment

    found = [observe_environment()]
    if options.model is not None:
        found += _model(options)
    elif options.reference:
        raise UserError("--reference needs --model: there is nothing to hold against it.")
    if options.traces is not None:
        found += observe_turns(_turns(options.traces, options.last))
    return found


def _model(options: argparse.Namespace) -> list[Observation]:
    from exllama_guard.backends import tokenizer_hash
    from exllama_guard.probes.doctor import (
        check_reading,
        observe_bases,
        observe_files,
        observe_weights_beside,
        own_precision,
        tokenizer_pair,
    )
    from exllama_guard.probes.modes import choose_mode

    chosen = choose_mode(options.model, own_precision)
    reference = choose_mode(options.reference, own_precision) if options.reference else None
    found = list(observe_files(chosen.path))
    if reference is not None:
        found.append(observe_bases(chosen.path, reference.path))
        found.append(observe_weights_beside(chosen.path, reference.path))
        if options.files_only:  # else their ids tell
            found.append(tokenizer_pair(tokenizer_hash(chosen.path), tokenizer_hash(reference.path), None))
    if options.files_only:
        return found
    if any(one.symptom.id == "W1" and one.inputs.get("unreadable") for one in found):
        return found  # no library could load it
    _one_thread_where_busy()
    return found + list(check_reading(chosen, reference, _say, options.budget_s))


def _one_thread_where_busy() -> None:
    """On a busy machine threads wait for each other: one alone read four times as fast as two (measured)."""
    import torch

    cores = os.cpu_count() or 1
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.75 * cores:
        torch.set_num_threads(max(1, torch.get_num_threads() // 2))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _turns(folder: Path, last: int) -> list[TurnReport]:
    """The last finished turns, oldest first.

    Raises:
        UserError: There are no traces.
    """
    from exllama_guard.trace import read_traces, report_of

    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; name the folder that holds traces-*.jsonl.")
    records = list(read_traces(folder))[-last:]
    if not records:
        raise UserError(f"There are no traces in {folder}; chat with traces switched on first.")
    return [report_of(record) for record in records]


_MARKS = {Gate.FAIL: "FAIL  ", Gate.REVIEW: "REVIEW", Gate.PASS: "ok    "}


def in_words(checkup: Checkup) -> str:
    """The checkup as lines of text for a terminal."""
    lines = []
    for one in (*checkup.found, *checkup.clean):
        lines.append(f"{_MARKS[one.verdict]} {one.symptom.id:4} {one.symptom.title}: {one.evidence}")
        lines += [f"            {page.title}: {page.url}" for page in one.pages]
    if checkup.found:
        lines += ["", f"Repair first: {checkup.found[0].symptom.id}, {checkup.found[0].pages[0].url}"]
    lines += ["", "Not measured:"]
    lines += [f"  {one.symptom.id:4} {one.symptom.title}: {one.evidence}" for one in checkup.not_measured]
    return "\n".join(lines)
