"""Past turns from the trace files: read once, filtered, paged, exported; opened by reading one again."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from exllama_guard.core.measures import Gate, Measure, NotScored
from exllama_guard.core.turns import Reader, TurnReport
from exllama_guard.errors import TraceError
from exllama_guard.panel.source import PanelSource
from exllama_guard.trace import TraceRecord, from_line, reader_in_trace, record_of, report_of, trace_files

PAGE_TURNS = 25
READING_S = 0.25  # of one look: a page never waits longer for old trace files
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs cells that begin so


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One past turn in a line of the history; `None` where it was not measured or not kept."""

    turn_id: str
    at: str
    chat: str
    question: str
    verdict: Gate
    support: float | None
    distance: float | None
    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class Filter:
    """What of the history is shown; "" lets everything pass. Pages count from 0."""

    chat: str = ""
    verdict: str = ""
    model: str = ""
    page: int = 0


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page of the filtered history, newest first, with what there is to choose from."""

    rows: tuple[HistoryRow, ...]
    total: int
    page: int
    pages: int
    chats: tuple[str, ...]
    models: tuple[str, ...]
    unreadable: int
    unread: int = 0


@dataclass(slots=True)
class _File:
    offset: int = 0
    rows: list[tuple[Reader, HistoryRow, int]] = field(default_factory=list)
    bad: int = 0


@dataclass(frozen=True, slots=True)
class Past:
    """A reader's past turns as far as they are read, newest first; `unread` bytes are still to be read."""

    rows: tuple[HistoryRow, ...]
    unreadable: int = 0
    unread: int = 0


class HistoryBook:
    """The past turns of one trace folder. Thread-safe; the lock protects the rows that were read."""

    def __init__(self) -> None:
        """Starts with nothing read."""
        self._lock = threading.Lock()
        self._files: dict[Path, _File] = {}

    def rows(self, folder: Path, reader: Reader, *, within_s: float = READING_S) -> Past:
        """`reader`'s turns. Reads new lines, the newest file first, for at most about `within_s`."""
        mine = _names_of(reader)
        until_s = time.monotonic() + within_s
        with self._lock:
            present = trace_files(folder)
            self._files = {path: self._files.get(path, _File()) for path in present}
            unread = sum(_read_on(path, self._files[path], until_s) for path in reversed(present))
            kept = [self._files[path] for path in reversed(present)]
            rows = tuple(row for file in kept for who, row, _ in reversed(file.rows) if who in mine)
            return Past(rows, sum(file.bad for file in kept), unread)

    def open(self, folder: Path, reader: Reader, turn_id: str) -> TurnReport | None:
        """The whole turn, read again from its file; None where it is gone or another's."""
        mine = _names_of(reader)
        with self._lock:
            for path in reversed(trace_files(folder)):
                for who, row, offset in self._files.get(path, _File()).rows:
                    if row.turn_id == turn_id and who in mine:
                        return _read_turn(path, offset)
        return None


class Archive:
    """A monitor's past turns: from the traces, or where none are written, those in memory. Thread-safe."""

    def __init__(self, source: PanelSource) -> None:
        """Nothing is read yet."""
        self._source = source
        self._book = HistoryBook()

    def rows(self, reader: Reader, *, within_s: float = READING_S) -> Past:
        """The reader's past turns, as far as they are read within about that time."""
        folder = self._folder()
        if folder is None:
            return Past(tuple(row_of(record_of(turn)) for turn in self._source.snapshot(reader).turns))
        return self._book.rows(folder, reader, within_s=within_s)

    def open(self, reader: Reader, turn_id: str) -> TurnReport | None:
        """The whole turn, read again from its file; None where it is gone, another's, or not traced."""
        folder = self._folder()
        return None if folder is None else self._book.open(folder, reader, turn_id)

    def _folder(self) -> Path | None:
        settings = self._source.settings
        if not (settings.traces and settings.trace_folder):
            return None
        return Path(settings.trace_folder).expanduser()


def _names_of(reader: Reader) -> set[Reader]:
    """What a trace may call the reader, with and without text."""
    return {reader_in_trace(reader), reader_in_trace(reader, with_text=False)}


def _read_on(path: Path, file: _File, until_s: float) -> int:
    """Reads the lines that were added since the last time; gives the bytes left when the time ran out.

    An unfinished last line waits and is not counted.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(file.offset)
            for line in stream:
                if not line.endswith(b"\n"):
                    return 0
                if time.monotonic() > until_s:
                    return path.stat().st_size - file.offset
                try:
                    record = from_line(line)
                    file.rows.append((record.reader, row_of(record), file.offset))
                except TraceError:
                    file.bad += bool(line.strip())
                file.offset += len(line)
    except OSError:
        file.bad += 1
    return 0


def _read_turn(path: Path, offset: int) -> TurnReport | None:
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            return report_of(from_line(stream.readline()))
    except (OSError, TraceError):
        return None


def row_of(record: TraceRecord) -> HistoryRow:
    """The line of the history that stands for `record`."""
    return HistoryRow(
        turn_id=record.trace_id,
        at=record.ts[:16].replace("T", " "),
        chat=record.chat_id or "",
        question=" ".join((record.question or "").split()),
        verdict=record.verdict.gate,
        support=_scored(record.support.support),
        distance=_scored(record.distances.gated),
        model=record.model.name if record.model else "",
        reason=record.verdict.reasons[0] if record.verdict.reasons else "",
    )


def _scored(value: Measure) -> float | None:
    return None if isinstance(value, NotScored) else round(value, 4)


def filtered(rows: Sequence[HistoryRow], chosen: Filter) -> tuple[HistoryRow, ...]:
    """The rows that pass the filter, in their order."""
    return tuple(
        row
        for row in rows
        if (not chosen.chat or row.chat == chosen.chat)
        and (not chosen.verdict or row.verdict.value == chosen.verdict)
        and (not chosen.model or row.model == chosen.model)
    )


def page_of(past: Past, chosen: Filter) -> HistoryPage:
    """One page of the filtered rows; a page beyond the last one is the last one."""
    rows = past.rows
    passed = filtered(rows, chosen)
    pages = max(1, -(-len(passed) // PAGE_TURNS))
    page = min(max(chosen.page, 0), pages - 1)
    return HistoryPage(
        rows=passed[page * PAGE_TURNS : (page + 1) * PAGE_TURNS],
        total=len(passed),
        page=page,
        pages=pages,
        chats=tuple(dict.fromkeys(row.chat for row in rows if row.chat)),
        models=tuple(dict.fromkeys(row.model for row in rows if row.model)),
        unreadable=past.unreadable,
        unread=past.unread,
    )


def as_json(rows: Iterable[HistoryRow]) -> str:
    """The rows as a JSON list of objects."""
    return json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=1)


def as_csv(rows: Iterable[HistoryRow]) -> str:
    """The rows as CSV with a header; a cell that a spreadsheet would run as a formula begins with '."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(HistoryRow.__dataclass_fields__)
    for row in rows:
        cells = asdict(row) | {"verdict": row.verdict.value}
        writer.writerow(["" if cell is None else _safe_cell(str(cell)) for cell in cells.values()])
    return out.getvalue()


def _safe_cell(text: str) -> str:
    return "'" + text if text.startswith(_FORMULA) else text
