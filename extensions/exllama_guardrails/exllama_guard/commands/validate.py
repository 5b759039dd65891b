"""`validate`: checks trace files against the trace contract, line by line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from exllama_guard.commands import command_parser
from exllama_guard.tools import read_json
from exllama_guard.trace import (
    SCHEMA_VERSION,
    TraceLine,
    TraceRecord,
    TraceSnippet,
    read_lines,
    trace_files,
    violations,
)

_HELP = """\
Prints one line for each violation: FILE:LINE: CODE: what is wrong. Exit status: 0 clean, 1 violations,
2 could not run. Codes: truncated, mixed_prose, extra_field, unreadable, empty_citations, missing_<field>,
missing_score, bad_offsets, offset_text_mismatch, cross_section_reuse, mismatch_index_hash,
analyzer_mismatch, orphan_claim, bad_support.

example:
  python3 extensions/exllama_guardrails validate user_data/exllama_guardrails/traces
"""


def run(argv: Sequence[str]) -> int:
    """Exit status: 0 clean, 1 violations, 2 a file could not be read."""
    parser = command_parser(
        "validate", "Checks trace files (or folders of them) against the trace contract.", _HELP
    )
    parser.add_argument("paths", nargs="+", metavar="FILE", help="a trace file or a folder of trace files")
    options = parser.parse_args(argv)
    found = lines = 0
    try:
        for line, raw in _lines(options.paths):
            lines += 1
            for code, text in _problems(line, raw):
                found += 1
                print(f"{line.path}:{line.number}: {code}: {text}")
    except OSError as error:
        print(f"validate: {error.filename} cannot be read ({error.strerror}).", file=sys.stderr)
        return 2
    print(f"{lines} lines, {found} violations", file=sys.stderr)
    return 1 if found else 0


def _problems(line: TraceLine, raw: bytes) -> list[tuple[str, str]]:
    if line.record is None:
        return [(_code_of(line, raw), line.problem or "")]
    return [*_extra_fields(raw), *violations(line.record)]


def _code_of(line: TraceLine, raw: bytes) -> str:
    """The code of a line that is no record; its sentence names the field where one is at fault."""
    read = read_json(raw.decode("utf-8", "replace"))
    if not read.ok:
        code = read.problems[0].code
        return code if code in ("truncated", "mixed_prose") else "unreadable"
    where, _, fault = (line.problem or "").partition(": ")
    return f"missing_{where.rpartition('.')[2]}" if fault.startswith("Field required") else "unreadable"


def _extra_fields(raw: bytes) -> Iterator[tuple[str, str]]:
    """Fields of a line of this version that the contract does not know, such as what a model stated."""
    value = json.loads(raw)
    if value.get("schema_version") != SCHEMA_VERSION:
        return
    parts: list[tuple[str, dict[str, Any], type]] = [("", value, TraceRecord)]
    parts += [("snippets.", snippet, TraceSnippet) for snippet in value.get("snippets") or ()]
    for place, part, kind in parts:
        known = {field.name for field in fields(kind)}
        for name in part:
            if name not in known:
                yield "extra_field", f"{place}{name} is no field of a trace"


def _lines(names: Sequence[str]) -> Iterator[tuple[TraceLine, bytes]]:
    for path in _files(names):
        with path.open("rb") as file:
            yield from zip(read_lines(path), (raw for raw in file if raw.strip()), strict=False)


def _files(names: Sequence[str]) -> Iterator[Path]:
    for name in names:
        path = Path(name)
        if path.is_dir():
            yield from trace_files(path)
        else:
            yield path
