"""What is kept of a turn: the record, its line of JSON, its files, its contract."""

from __future__ import annotations

from exllama_guard.trace.contract import violations
from exllama_guard.trace.files import TraceLine, TraceWriter, read_lines, read_traces, trace_files
from exllama_guard.trace.json_lines import read_object
from exllama_guard.trace.line import from_line
from exllama_guard.trace.record import (
    SCHEMA_VERSION,
    TraceRecord,
    TraceSnippet,
    reader_in_trace,
    record_of,
    report_of,
)

__all__ = [
    "SCHEMA_VERSION",
    "TraceLine",
    "TraceRecord",
    "TraceSnippet",
    "TraceWriter",
    "from_line",
    "read_lines",
    "read_object",
    "read_traces",
    "reader_in_trace",
    "record_of",
    "report_of",
    "trace_files",
    "violations",
]
