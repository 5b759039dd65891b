"""`validate`: checks trace files against the trace contract, line by line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from exllama_guard.core.trace import TraceLine, read_lines, trace_files
from exllama_guard.core.trace_contract import violations

_HELP = """\
Prints one line for each violation: FILE:LINE: CODE: what is wrong. Exit status: 0 clean, 1 violations,
2 could not run. Codes: unreadable, empty_citations, missing_<field>, bad_offsets, offset_text_mismatch,
cross_section_reuse, mismatch_index_hash, orphan_claim.

example:
  python3 extensions/exllama_guardrails validate user_data/exllama_guardrails/traces
"""


def run(argv: Sequence[str]) -> int:
    """Exit status: 0 clean, 1 violations, 2 a file could not be read."""
    parser = argparse.ArgumentParser(
        prog="python3 extensions/exllama_guardrails validate",
        description="Checks trace files (or folders of them) against the trace contract.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", metavar="FILE", help="a trace file or a folder of trace files")
    options = parser.parse_args(argv)
    found = lines = 0
    try:
        for line in _lines(options.paths):
            lines += 1
            for code, text in _problems(line):
                found += 1
                print(f"{line.path}:{line.number}: {code}: {text}")
    except OSError as error:
        print(f"validate: {error.filename} cannot be read ({error.strerror}).", file=sys.stderr)
        return 2
    print(f"{lines} lines, {found} violations", file=sys.stderr)
    return 1 if found else 0


def _problems(line: TraceLine) -> list[tuple[str, str]]:
    return [("unreadable", line.problem or "")] if line.record is None else violations(line.record)


def _lines(names: Sequence[str]) -> Iterator[TraceLine]:
    for path in _files(names):
        yield from read_lines(path)


def _files(names: Sequence[str]) -> Iterator[Path]:
    for name in names:
        path = Path(name)
        if path.is_dir():
            yield from trace_files(path)
        else:
            yield path
