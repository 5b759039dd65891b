"""The files that traces stand in: of limited size, readable by their owner only, a crash costs one line."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from exllama_guard.core.turns import TurnReport
from exllama_guard.errors import TraceError
from exllama_guard.trace.line import from_line, to_line
from exllama_guard.trace.record import TraceRecord, record_of

_NAME = re.compile(r"traces-([0-9]{1,40})\.jsonl")
# Windows would write \r\n for \n without O_BINARY. A link that somebody planted is not followed; Windows has
# no such flag, there only the look before stands in the way.
_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True, slots=True)
class TraceLine:
    """One line that was read: its record, or the sentence that says what is wrong with it."""

    path: Path
    number: int
    record: TraceRecord | None
    problem: str | None = None


class TraceWriter:
    """Appends records to files of limited size in one folder, readable by their owner only.

    Used by one thread at a time (the monitor's worker). A line is one write in append mode, so a crash
    loses at most the line being written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        with_text: bool = True,
        file_bytes: int = 8_000_000,
        files_kept: int = 20,
    ) -> None:
        """Remembers where to write; the folder is made with the first line."""
        self._folder = folder
        self._with_text = with_text
        self._file_bytes = file_bytes
        self._files_kept = files_kept
        self._path: Path | None = None

    def write(self, report: TurnReport) -> None:
        """Appends the report's line.

        Raises:
            TraceError: The folder or file cannot be written; the message names it.
        """
        line = to_line(record_of(report, with_text=self._with_text))
        try:
            self._append(line)
        except OSError as error:
            self._path = None
            raise TraceError(
                f"The trace cannot be written to {self._folder} ({error.strerror or error}); "
                "make room or choose another folder in the setting 'trace_folder'. The chat goes on."
            ) from error

    def _append(self, line: bytes) -> None:
        path = self._current(len(line))
        handle = os.open(path, _APPEND, 0o600)
        try:
            _made_private(handle)
            if _ends_cut(handle):
                line = b"\n" + line
            written = os.write(handle, line)
            if written != len(line):
                raise OSError(28, f"only {written} of {len(line)} bytes fitted on the disk")
        finally:
            os.close(handle)

    def _current(self, more_bytes: int) -> Path:
        if self._path is None or not _is_ours(self._path):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            existing = trace_files(self._folder)
            self._path = existing[-1] if existing and _is_ours(existing[-1]) else self._new_path()
        if self._path.exists() and self._path.stat().st_size + more_bytes > self._file_bytes:
            self._path = self._new_path()
            for old in trace_files(self._folder)[: -(self._files_kept - 1) or None]:
                with suppress(OSError):  # Windows does not remove a file that somebody reads: next time
                    old.unlink()
        return self._path

    def _new_path(self) -> Path:
        """A name that sorts after every name in the folder, also when the clock went back."""
        stamp = f"traces-{time.time_ns():020d}.jsonl"
        names = [path.name for path in _named(self._folder)]
        last = max(names, default="")
        if stamp <= last:
            stamp = f"traces-{int(last.removeprefix('traces-').removesuffix('.jsonl')) + 1:020d}.jsonl"
        return self._folder / stamp


def _is_ours(path: Path) -> bool:
    """Whether a file may be written on: it is there, no link, has one name only, and its owner runs this."""
    try:
        status = path.lstat()
    except OSError:
        return False
    mine = getattr(os, "geteuid", lambda: status.st_uid)()
    return stat.S_ISREG(status.st_mode) and status.st_nlink <= 1 and status.st_uid == mine


def _made_private(handle: int) -> None:
    """Takes everybody else's rights from the open file; the mode of one that was there before is not kept."""
    if os.name != "nt" and stat.S_IMODE(os.fstat(handle).st_mode) != 0o600:
        os.fchmod(handle, 0o600)


def _ends_cut(handle: int) -> bool:
    """True when the open file has content and does not end with a line end."""
    if os.lseek(handle, 0, os.SEEK_END) == 0:
        return False
    os.lseek(handle, -1, os.SEEK_END)
    return os.read(handle, 1) != b"\n"


def trace_files(folder: Path) -> list[Path]:
    """The folder's trace files, oldest first; [] where there is no folder. Links and pipes are none."""
    return [path for path in _named(folder) if stat.S_ISREG(path.lstat().st_mode)]


def _named(folder: Path) -> list[Path]:
    """Everything in the folder that is named like a trace file, whatever it is, in order."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def read_lines(path: Path) -> Iterator[TraceLine]:
    """Every line of one file in order; a bad line, a cut last one too, comes with its problem."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield TraceLine(path, number, from_line(line))
            except TraceError as error:
                yield TraceLine(path, number, None, str(error))


def read_traces(folder: Path) -> Iterator[TraceRecord]:
    """The good records of all files of a folder, oldest first; bad lines are passed over."""
    for path in trace_files(folder):
        for line in read_lines(path):
            if line.record is not None:
                yield line.record
