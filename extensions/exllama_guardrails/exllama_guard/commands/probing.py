"""What the commands that probe share: options, progress, Ctrl+C, opened models, reports written to files."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from exllama_guard.core.measures import Gate
from exllama_guard.core.private_file import replacing
from exllama_guard.errors import GuardError, UserError
from exllama_guard.probes import GoldSet, Progress, RunCache, Runner, read_gold_file
from exllama_guard.report import Report, as_html, as_json_text, as_markdown

if TYPE_CHECKING:
    from exllama_guard.probes.modes import Opened

__all__ = [
    "add_report_options",
    "add_run_options",
    "opened",
    "questions",
    "report_command",
    "running",
    "write_reports",
]


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """--keep, --embedder, --quiet."""
    parser.add_argument(
        "--keep", type=Path, help="file that finished generations are kept in, to go on later"
    )
    parser.add_argument(
        "--embedder", default="", help="sentence-transformers folder (default: the bundled one)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """--html, --markdown, --json."""
    parser.add_argument("--html", type=Path, help="write the report as one HTML file")
    parser.add_argument("--markdown", type=Path, help="write it as Markdown")
    parser.add_argument("--json", type=Path, help="write it as JSON (- prints it)")


def questions(name: str, path: Path) -> GoldSet:
    """The gold set of a file; lines of it that cannot be used are told on standard error.

    Raises:
        UserError: It cannot be read, or has no usable question.
    """
    gold = read_gold_file(path)
    if not gold.items:
        raise UserError(f"{path} holds no usable question: {' '.join(gold.problems) or 'it is empty'}")
    for problem in gold.problems:
        print(f"{name}: {problem}", file=sys.stderr)
    return gold


@contextlib.contextmanager
def running(keep: Path | None, quiet: bool) -> Iterator[Runner]:
    """A runner that tells its progress on standard error; Ctrl+C stops it after the running token.

    Raises:
        UserError: The file of kept generations cannot be read.
    """
    cancel = threading.Event()
    runner = Runner(RunCache(keep), (lambda _: None) if quiet else _print_progress, cancel)
    before = signal.signal(signal.SIGINT, lambda number, frame: cancel.set())
    try:
        yield runner
    finally:
        signal.signal(signal.SIGINT, before)


def _print_progress(progress: Progress) -> None:
    print(progress.sentence(), file=sys.stderr, flush=True)


@contextlib.contextmanager
def opened(text: str | None) -> Iterator[Opened]:
    """The mode of `[LABEL=]PATH[@PRECISION]`, closed at the end; None: the small model that pip brings.

    Raises:
        UserError: The form is unknown or the model is not there.
        BackendError: It cannot be loaded.
    """
    from exllama_guard.probes.modes import bundled, choose_mode

    mode = (bundled() if text is None else choose_mode(text)).open()
    try:
        yield mode
    finally:
        mode.close()


def all_pass(report: Report) -> bool:
    """Whether every verdict of the report is PASS."""
    return all(line.gate is Gate.PASS for line in report.lines)


def report_command(
    name: str,
    options: argparse.Namespace,
    make: Callable[[argparse.Namespace], Report],
    passed: Callable[[Report], bool] = all_pass,
) -> int:
    """Makes the report, writes and tells it; exit status: 0 `passed`, 1 not, 2 could not run."""
    try:
        report = make(options)
        write_reports(report, options)
    except GuardError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    for line in report.lines:
        print(f"{line.gate.value:12} {line.name}: {line.sentence}", file=sys.stderr)
    return 0 if passed(report) else 1


def write_reports(report: Report, options: argparse.Namespace) -> None:
    """Writes the forms that were asked for; each file is replaced whole.

    Raises:
        UserError: A file cannot be written.
    """
    if options.json is not None:
        text = as_json_text(report)
        if str(options.json) == "-":
            print(text, end="")
        else:
            _write(options.json, text)
    if options.markdown is not None:
        _write(options.markdown, as_markdown(report))
    if options.html is not None:
        _write(options.html, as_html(report))


def _write(path: Path, text: str) -> None:
    try:
        with replacing(path) as file:
            file.write(text.encode("utf-8", "replace"))
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); name another file.") from error
