"""Traces: one JSON object a line, written whole, read tolerantly, with a version and a published schema.

The fields are those of the seed study's trace contract; a line never holds the prompt, the host's state,
or anything of the environment. With `with_text=False` it holds hashes and numbers only.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from exllama_guard.core.records import (
    Acted,
    Channel,
    ClaimSupport,
    Coverage,
    Distances,
    Finding,
    Finish,
    Gate,
    ModelInfo,
    NotScored,
    Offsets,
    Origin,
    PairDistance,
    Reader,
    Relevance,
    Snippet,
    SupportReport,
    Try,
    TurnReport,
    Verdict,
    Zone,
    content_hash,
)
from exllama_guard.core.secrets import masked_deep
from exllama_guard.errors import TraceError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

SCHEMA_VERSION = "1.0"
_PATTERN = "traces-*.jsonl"


@dataclass(frozen=True, slots=True)
class TraceSnippet:
    """A snippet in a trace: the five contract fields, its text's hash, and its text where allowed."""

    snippet_id: str
    section_id: str
    source_url: str
    tokens: int
    offsets: Offsets
    text_hash: str
    text: str | None
    origin: Origin
    derived: tuple[str, ...] = ()
    score: float | None = None
    index_hash: str | None = None
    analyzer: str | None = None  # None in lines from before it was kept


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """One finished turn as a line of a trace file."""

    schema_version: str
    event: str
    ts: str  # ISO 8601, UTC
    trace_id: str
    chat_id: str | None
    reader: Reader
    channel: Channel
    finish: Finish
    question: str | None
    question_hash: str
    prompt_hash: str | None
    answer: str | None
    answer_hash: str
    snippets: tuple[TraceSnippet, ...]
    cited_ids: tuple[str, ...]
    distances: Distances
    coverage: Coverage
    support: SupportReport
    zone: Zone | None
    distance_gate: Gate
    verdict: Verdict
    model: ModelInfo | None
    regenerate: bool
    tool_turn: bool
    elapsed_s: float
    time_to_first_token_s: float | None
    dedupe_key: str
    not_measured: tuple[str, ...]
    relevance: Relevance | None = None  # None in lines from before it was measured
    acted: Acted | None = None  # what was done because of the verdict; None where nothing was to be done
    extensions: tuple[str, ...] | None = None  # the host's other extensions that were on; None: not known


@dataclass(frozen=True, slots=True)
class TraceLine:
    """One line that was read: its record, or the sentence that says what is wrong with it."""

    path: Path
    number: int
    record: TraceRecord | None
    problem: str | None = None


def record_of(report: TurnReport, *, with_text: bool = True) -> TraceRecord:
    """The trace record of a report, secrets masked; without text, every text is empty and its hash stays."""
    report = masked_deep(report)
    request = report.request
    index_hash = next((snippet.index_hash for snippet in request.snippets if snippet.index_hash), "")
    started = datetime.fromtimestamp(request.started_at_s, tz=timezone.utc)
    ids = ",".join(snippet.snippet_id for snippet in request.snippets)
    record = TraceRecord(
        schema_version=SCHEMA_VERSION,
        event="turn",
        ts=started.isoformat(timespec="milliseconds"),
        trace_id=request.turn_id,
        chat_id=request.chat_id,
        reader=reader_in_trace(request.reader, with_text=with_text),
        channel=request.channel,
        finish=report.finish,
        question=request.question,
        question_hash=content_hash(request.question),
        prompt_hash=content_hash(request.prompt) if request.prompt else None,
        answer=report.answer,
        answer_hash=content_hash(report.answer),
        snippets=tuple(_trace_snippet(snippet) for snippet in request.snippets),
        cited_ids=report.cited_ids,
        distances=report.distances,
        coverage=report.coverage,
        support=report.support,
        zone=report.zone,
        distance_gate=report.distance_gate,
        verdict=report.verdict,
        model=request.model,
        regenerate=request.regenerate,
        tool_turn=request.tool_turn,
        elapsed_s=report.elapsed_s,
        time_to_first_token_s=report.time_to_first_token_s,
        dedupe_key=content_hash(f"{request.question}\n{index_hash}\n{ids}"),
        not_measured=_not_measured(report),
        relevance=report.relevance,
        acted=report.acted,
        extensions=request.extensions,
    )
    return record if with_text else _without_text(record)


def reader_in_trace(reader: Reader, *, with_text: bool = True) -> Reader:
    """How a trace names a reader: a session by its hash only, and a login too where text is left out."""
    username, session = reader.username, reader.session
    if username is not None and not with_text:
        username = content_hash(username)
    return Reader(username, content_hash(session) if session is not None else None)


def _trace_snippet(snippet: Snippet) -> TraceSnippet:
    return TraceSnippet(
        snippet_id=snippet.snippet_id,
        section_id=snippet.section_id,
        source_url=snippet.source_url,
        tokens=snippet.tokens,
        offsets=snippet.offsets,
        text_hash=content_hash(snippet.text),
        text=snippet.text,
        origin=snippet.origin,
        derived=tuple(sorted(snippet.derived)),
        score=snippet.score,
        index_hash=snippet.index_hash,
        analyzer=snippet.analyzer,
    )


def _not_measured(report: TurnReport) -> tuple[str, ...]:
    distances = report.distances
    values = {
        "question_context": distances.gated,
        "answer_context": distances.answer_context.top1,
        "context_anchor": distances.context_anchor,
        "answer_anchor": distances.answer_anchor,
        "question_answer": distances.question_answer,
        "coverage": report.coverage.coverage,
        "bleed": report.coverage.bleed,
        "support": report.support.support,
        "relevance": report.relevance.relevance,
    }
    return tuple(name for name, value in values.items() if isinstance(value, NotScored))


def _without_text(record: TraceRecord) -> TraceRecord:
    return replace(
        record,
        question=None,
        answer=None,
        snippets=tuple(_bare_snippet(snippet) for snippet in record.snippets),
        distances=_bare(record.distances),
        coverage=_bare(record.coverage),
        support=replace(
            record.support,
            claims=tuple(_bare_claim(claim) for claim in record.support.claims),
            findings=tuple(_bare_finding(finding) for finding in record.support.findings),
        ),
        verdict=replace(record.verdict, reasons=()),
        relevance=_bare(record.relevance),
        acted=_bare_acted(record.acted),
    )


def _bare_snippet(snippet: TraceSnippet) -> TraceSnippet:
    """The snippet with the names of its source as hashes: a heading or an address tells as much as text."""
    return replace(
        snippet,
        text=None,
        section_id=content_hash(snippet.section_id),
        source_url=content_hash(snippet.source_url),
    )


def _bare(value: T) -> T:
    """A record's part with every NotScored, however deep, without its detail."""
    if isinstance(value, NotScored):
        return replace(value, detail="")
    if isinstance(value, tuple):
        return cast("T", tuple(_bare(part) for part in value))
    if isinstance(value, (Distances, Coverage, PairDistance, Relevance, Try)):
        return replace(value, **{f.name: _bare(getattr(value, f.name)) for f in fields(value)})
    return value


def _bare_claim(claim: ClaimSupport) -> ClaimSupport:
    evidence = replace(claim.evidence, text="") if claim.evidence else None
    findings = tuple(_bare_finding(finding) for finding in claim.findings)
    return replace(claim, text="", evidence=evidence, findings=findings)


def _bare_acted(acted: Acted | None) -> Acted | None:
    """The action without the tries' texts and what was shown; its sentence holds no text of the chat."""
    if acted is None:
        return None
    tries = tuple(replace(_bare(one), answer="") for one in acted.tries)
    return replace(acted, tries=tries, shown="")


def _bare_finding(finding: Finding) -> Finding:
    return replace(finding, message="")


# --- lines ----------------------------------------------------------------------------------------------


@cache
def _adapter() -> TypeAdapter[TraceRecord]:
    from pydantic import TypeAdapter

    return TypeAdapter(TraceRecord)


def to_line(record: TraceRecord) -> bytes:
    r"""One line of UTF-8 JSON that ends with \n; lone surrogates, which UTF-8 lacks, become `?`."""
    plain = _adapter().dump_python(record, mode="python")
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), default=_plain, allow_nan=False)
    return text.encode("utf-8", "replace") + b"\n"


def _plain(value: object) -> object:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot stand in a trace")


def from_line(line: bytes | str) -> TraceRecord:
    """The record of one line, older versions brought up to date.

    Raises:
        TraceError: The line is no JSON object, of an unknown version, or breaks the schema.
    """
    from pydantic import ValidationError

    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"not a JSON object ({error}); the line was cut or edited") from error
    if not isinstance(data, dict):
        raise TraceError(f"a {type(data).__name__} instead of a JSON object")
    try:
        return _adapter().validate_python(migrated(data))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TraceError(f"{where}: {first['msg']}") from error


def migrated(data: dict[str, Any]) -> dict[str, Any]:
    """The object of a line in the present version; an older one is brought up to date step by step.

    Raises:
        TraceError: Its version is newer or unknown.
    """
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise TraceError(
            f"schema_version {version!r} is not known here (this is {SCHEMA_VERSION}); update the extension"
        )
    return data


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one line, generated from the types."""
    schema = _adapter().json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"ExLlama Guardrails trace {SCHEMA_VERSION}",
        **{key: value for key, value in schema.items() if key != "title"},
    }


# --- files ----------------------------------------------------------------------------------------------


# Windows would write \r\n for \n without O_BINARY.
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


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
            if _ends_cut(path):
                line = b"\n" + line
            written = os.write(handle, line)
            if written != len(line):
                raise OSError(28, f"only {written} of {len(line)} bytes fitted on the disk")
        finally:
            os.close(handle)

    def _current(self, more_bytes: int) -> Path:
        if self._path is None or not self._path.exists():
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            existing = trace_files(self._folder)
            self._path = existing[-1] if existing else self._new_path()
        if self._path.exists() and self._path.stat().st_size + more_bytes > self._file_bytes:
            self._path = self._new_path()
            for old in trace_files(self._folder)[: -(self._files_kept - 1) or None]:
                with suppress(OSError):  # Windows does not remove a file that somebody reads: next time
                    old.unlink()
        return self._path

    def _new_path(self) -> Path:
        """A name that sorts after every name in the folder, also when the clock went back."""
        stamp = f"traces-{time.time_ns():020d}.jsonl"
        last = next(reversed(trace_files(self._folder)), None)
        if last is not None and stamp <= last.name:
            number = int(last.stem.removeprefix("traces-")) + 1
            stamp = f"traces-{number:020d}.jsonl"
        return self._folder / stamp


def _ends_cut(path: Path) -> bool:
    """True when the file has content and does not end with a line end."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def trace_files(folder: Path) -> list[Path]:
    """The folder's trace files, oldest first; [] where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.glob(_PATTERN) if path.stem.removeprefix("traces-").isdigit())


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
