"""Traces: what a line holds, that it reads back, survives faults, and that the contract's codes fire."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace

import jsonschema_rs
import pytest
from conftest import EXTENSION
from exllama_guard.core.snippets import Offsets
from exllama_guard.core.turns import Finish, Reader
from exllama_guard.errors import TraceError
from exllama_guard.testing import make_monitor
from exllama_guard.trace.contract import violations
from exllama_guard.trace.files import TraceWriter, read_lines, read_traces, trace_files
from exllama_guard.trace.line import from_line, json_schema, to_line
from exllama_guard.trace.record import reader_in_trace, record_of
from hypothesis import given
from hypothesis import strategies as st
from programs import end
from trace_material import report_of


@pytest.fixture(scope="module")
def report():
    return report_of()


def test_a_record_reads_back_as_it_was(report):
    record = record_of(report)
    assert from_line(to_line(record)) == record


@given(st.text(), st.text(), st.text())
def test_any_text_survives_the_way_through_a_line(question, text, answer):
    record = record_of(replace(report_of(), answer=answer))
    record = replace(record, question=question)
    line = to_line(record)
    assert line.count(b"\n") == 1
    read = from_line(line)
    assert read.question == question.encode("utf-8", "replace").decode()
    assert read.answer == answer.encode("utf-8", "replace").decode()


def test_a_line_holds_the_contracts_fields_and_not_the_prompt(report):
    data = json.loads(to_line(record_of(report)))
    assert {"snippet_id", "section_id", "source_url", "tokens", "offsets"} <= set(data["snippets"][0])
    assert data["snippets"][0]["offsets"] == {"start": 0, "end": 28, "unit": "char"}
    assert "never enters a trace" not in json.dumps(data)
    assert data["prompt_hash"].startswith("sha256:")


def test_without_text_only_hashes_and_numbers_stay(report):
    line = to_line(record_of(report, with_text=False)).decode()
    for secret in ("How many", "8192 tokens", "The cache", "docs/cache.md", '"ann"', '"cache"'):
        assert secret not in line
    assert from_line(line).support.support == report.support.support


def test_a_browsers_session_is_written_as_a_hash_only(report):
    session = Reader(session="a-live-session-key")
    line = to_line(record_of(replace(report, request=replace(report.request, reader=session))))
    assert b"a-live-session-key" not in line
    assert from_line(line).reader == reader_in_trace(session)
    assert from_line(line).reader != reader_in_trace(Reader(session="another"))


def test_a_value_not_scored_is_an_object_with_its_reason(report):
    bare = replace(report, request=replace(report.request, question=""))
    record = record_of(make_monitor().measure(bare.request, "8192 tokens."))
    data = json.loads(to_line(record))
    assert data["distances"]["question_context"]["top1"]["reason"] == "no question"
    assert "question_context" in data["not_measured"]


def test_the_published_schema_is_the_types_and_accepts_a_line(report):
    published = EXTENSION / "docs" / "trace.schema.json"
    schema = json_schema()
    assert json.loads(published.read_text("utf-8")) == schema, "publish trace.line.json_schema() anew"
    jsonschema_rs.Draft202012Validator(schema).validate(json.loads(to_line(record_of(report))))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"schema_version": "1.0"', "not JSON"),
        (b"[1]", "list instead"),
        (b'{"schema_version": "9.9"}', "schema_version '9.9'"),
        (b'{"schema_version": "1.0"}', "Field required"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_line_says_what_is_wrong(line, says):
    with pytest.raises(TraceError, match=says):
        from_line(line)


def test_lines_are_appended_and_readable_by_the_owner_only(tmp_path, report):
    folder = tmp_path / "traces"
    TraceWriter(folder).write(report)
    TraceWriter(folder).write(report)
    (path,) = trace_files(folder)
    assert [line.problem for line in read_lines(path)] == [None, None]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_files_are_rotated_by_size_and_the_oldest_go(tmp_path, report):
    size = len(to_line(record_of(report)))
    writer = TraceWriter(tmp_path, file_bytes=size * 2 + 10, files_kept=3)
    for _ in range(11):
        writer.write(report)
    files = trace_files(tmp_path)
    assert [sum(1 for _ in read_lines(path)) for path in files] == [2, 2, 1]


def test_a_cut_last_line_is_passed_over_and_the_next_write_starts_anew(tmp_path, report):
    TraceWriter(tmp_path).write(report)
    (path,) = trace_files(tmp_path)
    path.write_bytes(path.read_bytes() + to_line(record_of(report))[:50])
    TraceWriter(tmp_path).write(report)
    assert [line.record is not None for line in read_lines(path)] == [True, False, True]
    assert len(list(read_traces(tmp_path))) == 2


def test_a_clock_that_went_back_keeps_the_order(tmp_path, report, monkeypatch):
    writer = TraceWriter(tmp_path, file_bytes=10, files_kept=100)
    for now in (5_000, 4_000, 3_000):
        monkeypatch.setattr(time, "time_ns", lambda now=now: now)
        writer.write(report)
    assert [int(path.stem.removeprefix("traces-")) for path in trace_files(tmp_path)] == [
        5_000,
        5_001,
        5_002,
    ]


def test_a_deleted_folder_is_made_again(tmp_path, report):
    folder = tmp_path / "traces"
    writer = TraceWriter(folder)
    writer.write(report)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    writer.write(report)
    assert len(list(read_traces(folder))) == 1


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path, report):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(TraceError, match="trace_folder"):
        TraceWriter(blocked / "traces").write(report)


@pytest.mark.skipif(os.name != "posix", reason="kills a process with SIGKILL")
def test_a_killed_process_loses_at_most_the_line_being_written(tmp_path):
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from trace_material import report_of\n"
        "from exllama_guard.trace.files import TraceWriter\n"
        "writer, report = TraceWriter(Path(sys.argv[1])), report_of()\n"
        "writer.write(report); writer.write(report)\n"
        "print('ready', flush=True)\n"
        "while True: writer.write(report)\n"
    )
    paths = [str(EXTENSION), str(EXTENSION.parents[1] / "tests")]
    for moment in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), *paths], stdout=subprocess.PIPE, text=True
        )
        try:
            assert child.stdout.readline() == "ready\n"
            time.sleep(0.02 * moment + 0.005)
            child.send_signal(signal.SIGKILL)
        finally:
            end(child)
    lines = [line for path in trace_files(tmp_path) for line in read_lines(path)]
    assert sum(line.record is not None for line in lines) >= 10
    assert sum(line.record is None for line in lines) <= 5


def test_a_clean_record_breaks_no_rule(report):
    assert violations(record_of(report)) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"section_id": ""}, "missing_section_id"),
        ({"source_url": ""}, "missing_source_url"),
        ({"snippet_id": ""}, "missing_snippet_id"),
        ({"tokens": 0}, "missing_tokens"),
        ({"offsets": Offsets(5, 5)}, "bad_offsets"),
        ({"offsets": Offsets(0, 3)}, "offset_text_mismatch"),
        ({"text": "The cache holds 9999 tokens."}, "offset_text_mismatch"),
    ],
)
def test_each_broken_field_has_its_code(report, change, code):
    record = record_of(report)
    broken = replace(record, snippets=(replace(record.snippets[0], **change),))
    assert code in [found for found, _ in violations(broken)]


def test_a_citation_of_nothing_and_two_states_of_an_index_are_found(report):
    record = record_of(report)
    assert "orphan_claim" in dict(violations(replace(record, cited_ids=("s9",))))
    first = record.snippets[0]
    twice = (replace(first, index_hash="a"), replace(first, index_hash="b", snippet_id="s2"))
    assert "mismatch_index_hash" in dict(violations(replace(record, snippets=twice)))
    assert "cross_section_reuse" in dict(violations(replace(record, snippets=(first, first))))


def test_a_stopped_reply_is_traced_as_stopped(report):
    record = record_of(replace(report, finish=Finish.STOPPED))
    assert from_line(to_line(record)).finish is Finish.STOPPED
