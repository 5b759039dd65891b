"""What somebody else put into the folder of the traces is not followed, kept open or an end to them."""

from __future__ import annotations

import os
import stat

import pytest
from exllama_guard.core.turns import TurnRequest
from exllama_guard.testing import make_monitor
from exllama_guard.trace.files import TraceWriter, read_traces, trace_files

posix = pytest.mark.skipif(os.name == "nt", reason="links, modes and pipes are POSIX")
LATE = "traces-99999999999999999999.jsonl"  # sorts behind every name that a clock gives


@pytest.fixture(scope="module")
def report():
    request = TurnRequest(turn_id="t", question="How many?", snippets=(), started_at_s=1.0)
    return make_monitor().measure(request, "It holds 8192 tokens.")


def written(folder):
    return [record.trace_id for record in read_traces(folder)]


@posix
@pytest.mark.parametrize("there", [True, False])
def test_a_planted_link_is_not_followed(tmp_path, report, there):
    target, folder = tmp_path / "elsewhere", tmp_path / "traces"
    folder.mkdir()
    if there:
        target.write_text("Mine.")
    (folder / LATE).symlink_to(target)
    TraceWriter(folder).write(report)
    assert (target.read_text() if there else target.exists()) == ("Mine." if there else False)
    assert written(folder) == ["t"]


@posix
def test_a_link_that_takes_the_place_of_the_open_file_is_not_followed(tmp_path, report):
    target, folder = tmp_path / "elsewhere", tmp_path / "traces"
    writer = TraceWriter(folder)
    writer.write(report)
    (path,) = trace_files(folder)
    target.write_text("Mine.")
    path.unlink()
    path.symlink_to(target)
    writer.write(report)
    assert target.read_text() == "Mine."
    assert written(folder) == ["t"]


@posix
def test_a_second_name_of_a_file_elsewhere_is_not_written_on(tmp_path, report):
    target, folder = tmp_path / "elsewhere", tmp_path / "traces"
    folder.mkdir()
    target.write_text("")
    (folder / LATE).hardlink_to(target)
    TraceWriter(folder).write(report)
    assert target.read_text() == ""
    assert written(folder) == ["t"]


@posix
def test_a_foreign_mode_is_not_kept(tmp_path, report):
    path = tmp_path / LATE
    path.touch()
    path.chmod(0o666)
    TraceWriter(tmp_path).write(report)
    assert written(tmp_path) == ["t"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in trace_files(tmp_path)} == {0o600}


@posix
def test_a_pipe_does_not_hold_up_reading(tmp_path, report):
    os.mkfifo(tmp_path / LATE)
    TraceWriter(tmp_path).write(report)
    assert written(tmp_path) == ["t"]


@pytest.mark.parametrize(
    "name", ["traces-\u00b2\u00b2.jsonl", "traces-\u0663.jsonl", "traces-.jsonl", "traces-1x.jsonl"]
)
def test_a_name_that_is_no_number_ends_nothing(tmp_path, report, name):
    (tmp_path / name).write_text("{}\n")
    writer = TraceWriter(tmp_path, file_bytes=10)
    writer.write(report)
    writer.write(report)
    assert written(tmp_path) == ["t", "t"]
