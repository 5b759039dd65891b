"""`check`: support, distances and verdict for JSON lines of questions, snippets and answers; no host."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

from exllama_guard.commands import command_parser
from exllama_guard.commands.streams import opened_input, opened_output, write_object
from exllama_guard.core.measures import NotScored
from exllama_guard.core.snippets import Offsets, Snippet, make_snippet, with_unique_ids
from exllama_guard.core.turns import Channel, ClaimSupport, Distances, PairDistance, TurnReport, TurnRequest
from exllama_guard.errors import ScoringError, UserError
from exllama_guard.monitor import Monitor
from exllama_guard.settings import Settings
from exllama_guard.trace import read_object

_HELP = """\
Each input line is one JSON object:
  {"id": "1", "question": "How large is the cache?",
   "snippets": ["The cache holds 8192 tokens.", {"snippet_id": "b", "text": "It is reset when full."}],
   "answer": "The cache holds 9000 tokens."}
and gives one output line:
  {"id": "1", "support": 0.04, "supported": false, "verdict": "FAIL", "claims": [...], "distances": {...},
   "coverage": {...}, "reasons": ["the answer says 9000; snippet s1 says 8192"], "elapsed_s": 0.03}

example:
  python3 extensions/exllama_guardrails check --input questions.jsonl --output checked.jsonl
"""


@dataclass(frozen=True, slots=True)
class Item:
    """One readable input line."""

    id: object
    request: TurnRequest
    answer: str


def run(argv: Sequence[str]) -> int:
    """Exit status: 0 all lines checked, 1 some lines were bad (each is an error object), 2 could not run."""
    options = _parser().parse_args(argv)
    try:
        with ExitStack() as stack:
            source = opened_input(stack, options.input)
            size = None if options.input == "-" else Path(options.input).stat().st_size
            target = opened_output(stack, options.output, options.input)
            return _check_all(source, size, target, options)
    except (UserError, OSError) as error:
        print(f"check: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "check",
        "Checks answers against snippets, one JSON object a line; needs no model and no WebUI.",
        _HELP,
    )
    parser.add_argument("--input", required=True, help="file of JSON lines, or - for standard input")
    parser.add_argument("--output", required=True, help="file to write, or - for standard output")
    parser.add_argument(
        "--embedder", default="", help="sentence-transformers folder (default: the bundled one)"
    )
    parser.add_argument("--verifier", default="", help="CrossEncoder folder (default: as in the settings)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def _check_all(source: IO[bytes], size: int | None, target: IO[str], options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from exllama_guard.assembly import build_monitor

    monitor = build_monitor(Settings(embedder=options.embedder, verifier=options.verifier, traces=False))
    bad = 0
    with tqdm(
        total=size, unit="B", unit_scale=True, disable=options.quiet, file=sys.stderr, desc="check"
    ) as bar:
        for number, line in enumerate(source, start=1):
            bar.update(len(line))
            if not line.strip():
                continue
            started = time.perf_counter()
            try:
                item = read_item(line, number)
            except UserError as error:
                bad += 1
                result: dict[str, Any] = {"line": number, "error": str(error)}
            else:
                result = _measured(monitor, item, started)
                bad += "error" in result
            write_object(target, result)
    return 1 if bad else 0


def _measured(monitor: Monitor, item: Item, started: float) -> dict[str, Any]:
    try:
        report = monitor.measure(item.request, item.answer)
    except ScoringError as error:
        return {"id": item.id, "error": str(error)}
    return result_of(item, report, time.perf_counter() - started)


def read_item(line: bytes, number: int) -> Item:
    """The item of one line.

    Raises:
        UserError: The line is no JSON object or a field is missing or of another type; names the field.
    """
    data = read_object(line, number)
    answer = data.get("answer")
    if not isinstance(answer, str):
        raise UserError(f"line {number}: 'answer' must be a string, not {type(answer).__name__}")
    question = data.get("question", "")
    if not isinstance(question, str):
        raise UserError(f"line {number}: 'question' must be a string, not {type(question).__name__}")
    snippets = data.get("snippets", [])
    if not isinstance(snippets, list):
        raise UserError(f"line {number}: 'snippets' must be a list, not {type(snippets).__name__}")
    anchor = data.get("anchor")
    request = TurnRequest(
        turn_id=f"line-{number}",
        question=question,
        snippets=with_unique_ids(snippet_of(entry, place, number) for place, entry in enumerate(snippets)),
        anchor=None if anchor is None else snippet_of(anchor, 0, number, "anchor"),
        channel=Channel.HEADLESS,
        started_at_s=time.time(),
    )
    return Item(data.get("id"), request, answer)


def snippet_of(entry: object, place: int, number: int, field: str = "snippets") -> Snippet:
    """A snippet from a string or an object with `text` and any of the contract's fields.

    Raises:
        UserError: It is neither, or a field has another type.
    """
    if isinstance(entry, str):
        return make_snippet(entry, position=place)
    if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
        raise UserError(f"line {number}: '{field}' must hold strings or objects with a string 'text'")
    for name in ("snippet_id", "section_id", "source_url"):
        if not isinstance(entry.get(name), (str, type(None))):
            raise UserError(f"line {number}: '{name}' of '{field}' must be a string")
    return make_snippet(
        entry["text"],
        position=place,
        snippet_id=entry.get("snippet_id"),
        section_id=entry.get("section_id"),
        source_url=entry.get("source_url"),
        offsets=_offsets(entry.get("offsets"), number),
    )


def _offsets(entry: object, number: int) -> Offsets | None:
    if entry is None:
        return None
    values = entry if isinstance(entry, dict) else {}
    start, end, unit = values.get("start"), values.get("end"), values.get("unit", "char")
    if isinstance(start, int) and isinstance(end, int) and 0 <= start <= end and isinstance(unit, str):
        return Offsets(start, end, unit)
    raise UserError(f"line {number}: 'offsets' must be {{start, end, unit}} with 0 <= start <= end")


def result_of(item: Item, report: TurnReport, elapsed_s: float) -> dict[str, Any]:
    """The output object of one item; what was not measured is null and named under `not_measured`."""
    support = report.support.support
    missing = {name: str(value) for name, value in report.measures.items() if isinstance(value, NotScored)}
    missing.pop("relevance", None)  # this command does not give it
    return {
        "id": item.id,
        "support": _number(support),
        "supported": report.support.supported,
        "verdict": report.verdict.gate.value,
        "claims": [_claim(claim) for claim in report.support.claims],
        "distances": _distances(report.distances),
        "coverage": {
            "coverage": _number(report.coverage.coverage),
            "bleed": _number(report.coverage.bleed),
            "method": report.coverage.method,
            "anchor": report.coverage.anchor_kind.value if report.coverage.anchor_kind else None,
        },
        "reasons": list(report.verdict.reasons),
        "cited": list(report.cited_ids),
        "zone": report.zone.value if report.zone else None,
        "not_measured": missing,
        "elapsed_s": round(elapsed_s, 4),
    }


def _number(value: float | NotScored) -> float | None:
    return None if isinstance(value, NotScored) else value


def _plain(value: PairDistance | NotScored | float | str | None) -> object:
    """A value of the distances as JSON: not measured is null."""
    if isinstance(value, PairDistance):
        pair = {part.name: _plain(getattr(value, part.name)) for part in fields(value) if part.name != "each"}
        return {"each": [_number(one) for one in value.each], **pair}
    return None if isinstance(value, NotScored) else value


def _distances(distances: Distances) -> dict[str, Any]:
    """Every distance under its own name."""
    values = {part.name: _plain(getattr(distances, part.name)) for part in fields(distances)}
    return {"embedder": values.pop("embedder_id"), **values}


def _claim(claim: ClaimSupport) -> dict[str, Any]:
    evidence = claim.evidence
    return {
        "text": claim.text,
        "start": claim.span.start,
        "end": claim.span.end,
        "kind": claim.kind.value,
        "support": _number(claim.support),
        "verdict": claim.gate.value,
        "evidence": None if evidence is None else asdict(evidence),
        "findings": [
            {
                **asdict(finding),
                "kind": finding.kind.value,
                "severity": finding.severity.value,
            }
            for finding in claim.findings
        ],
    }
