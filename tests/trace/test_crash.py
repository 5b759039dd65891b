"""What a kill, a full disk, a folder that is gone or read-only and a clock set back leave of the traces."""

from __future__ import annotations

import errno
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from exllama_guard.core.turns import Finish, TurnRequest
from exllama_guard.errors import TraceError
from exllama_guard.settings import Settings
from exllama_guard.testing import make_monitor
from exllama_guard.trace import files as files_module
from exllama_guard.trace.files import TraceWriter, read_lines, read_traces, trace_files
from exllama_guard.trace.line import to_line
from exllama_guard.trace.record import record_of
from programs import printed_by

KILLS = 200
posix = pytest.mark.skipif(os.name == "nt", reason="fork, file limits and modes are POSIX")


@pytest.fixture(scope="module")
def report():
    request = TurnRequest(turn_id="t", question="How many?", snippets=(), started_at_s=1.0)
    return make_monitor().measure(request, "It holds 8192 tokens.")


def numbered(report, number, answer="Said."):
    return replace(report, request=replace(report.request, turn_id=f"n{number}"), answer=answer)


def read_ids(folder):
    return [record.trace_id for record in read_traces(folder)]


@posix
def test_200_kills_at_random_moments_lose_no_finished_line(tmp_path):
    program = Path(__file__).with_name("crash_program.py")
    seen = printed_by(program, tmp_path, KILLS, 1)
    assert seen["finished"] >= KILLS  # each child was killed after a line of its own
    assert (seen["lost"], seen["twice"], seen["in_order"]) == ([], 0, True)
    assert seen["cut"] <= KILLS  # at most the line that was being written
    assert seen["good"] <= seen["finished"] + KILLS
    assert seen["files"] > 1
    assert seen["modes"] == ["0o600"]
    print(seen)


def test_a_line_that_was_cut_anywhere_is_the_only_one_lost(tmp_path, report):
    choose = random.Random(1)  # noqa: S311 - repeatable on purpose
    whole = to_line(record_of(numbered(report, 1)))
    for cut in {0, 1, len(whole) - 1, *(choose.randrange(len(whole)) for _ in range(60))}:
        folder = tmp_path / str(cut)
        writer = TraceWriter(folder)
        writer.write(numbered(report, 0))
        (path,) = trace_files(folder)
        with path.open("ab") as file:
            file.write(whole[:cut])
        TraceWriter(folder).write(numbered(report, 2))
        # Without its line end only, the cut line is still a whole object.
        expected = ["n0", "n1", "n2"] if cut == len(whole) - 1 else ["n0", "n2"]
        assert read_ids(folder) == expected, cut
        assert sum(line.record is None for line in read_lines(path)) == (0 < cut < len(whole) - 1)


@posix
def test_a_disk_that_is_full_loses_lines_and_damages_none(tmp_path, report):
    """A real limit of the file's size: the kernel writes a part of the line and refuses the rest."""
    writer = TraceWriter(tmp_path)
    writer.write(numbered(report, 0))
    (path,) = trace_files(tmp_path)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            import resource
            import signal

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            room = path.stat().st_size + 700
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            for number in (1, 2, 3):
                try:
                    writer.write(numbered(report, number))
                except TraceError as error:  # noqa: PERF203 - each is looked at
                    status = 0 if "make room" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read_ids(tmp_path) == ["n0"]
    TraceWriter(tmp_path).write(numbered(report, 4))
    assert read_ids(tmp_path) == ["n0", "n4"]
    assert sum(line.record is None for line in read_lines(path)) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_an_error_of_the_disk_is_one_sentence_and_over_when_it_is_over(tmp_path, report, monkeypatch, number):
    monitor = make_monitor(Settings(), trace=TraceWriter(tmp_path))
    write = os.write

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    def turn(name):
        handle = monitor.open_turn(replace(report.request, turn_id=name))
        handle.close("Said.", Finish.COMPLETE)
        assert monitor.wait_until_idle(120)
        return monitor.snapshot()

    monkeypatch.setattr(files_module.os, "write", refuse)
    for name in ("a", "b"):
        shown = turn(name)
        (problem,) = shown.problems
        assert os.strerror(number) in problem
        assert "The chat goes on" in problem
    assert len(shown.turns) == 2
    monkeypatch.setattr(files_module.os, "write", write)
    assert turn("c").problems == ()
    assert read_ids(tmp_path) == ["c"]


@posix
def test_a_folder_that_may_only_be_read_is_told_of(tmp_path, report):
    folder = tmp_path / "traces"
    folder.mkdir()
    for path in (tmp_path, *tmp_path.parents[:3]):
        path.chmod(path.stat().st_mode | 0o055)
    folder.chmod(0o555)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setuid(65534)  # root may write anywhere
            TraceWriter(folder).write(report)
        except TraceError as error:
            status = 0 if str(folder) in str(error) and "another folder" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_folder_that_is_deleted_comes_back_with_the_next_line(tmp_path, report):
    folder = tmp_path / "traces"
    writer = TraceWriter(folder)
    writer.write(numbered(report, 0))
    shutil.rmtree(folder)
    writer.write(numbered(report, 1))
    next(iter(trace_files(folder))).unlink()
    writer.write(numbered(report, 2))
    assert read_ids(folder) == ["n2"]


def test_a_file_in_the_place_of_the_folder_is_told_of(tmp_path, report):
    (tmp_path / "traces").write_text("mine")
    with pytest.raises(TraceError, match="another folder"):
        TraceWriter(tmp_path / "traces").write(report)
    assert (tmp_path / "traces").read_text() == "mine"


def test_a_clock_that_goes_back_keeps_the_order_of_files_and_lines(tmp_path, report, monkeypatch):
    times = iter(range(10**18, 0, -(10**15)))
    monkeypatch.setattr(files_module.time, "time_ns", lambda: next(times))
    writer = TraceWriter(tmp_path, file_bytes=10, files_kept=1_000)
    for number in range(20):
        writer.write(numbered(report, number))
    assert len(trace_files(tmp_path)) == 20
    assert read_ids(tmp_path) == [f"n{number}" for number in range(20)]


def test_a_clock_that_goes_back_leaves_the_newest_turn_on_top(report):
    monitor = make_monitor()
    for number, at_s in enumerate((1000.0, 2000.0, 500.0)):
        request = replace(report.request, turn_id=f"n{number}", started_at_s=at_s)
        monitor.open_turn(request).close("Said.", Finish.COMPLETE)
    assert monitor.wait_until_idle(120)
    assert [turn.request.turn_id for turn in monitor.snapshot().turns] == ["n2", "n1", "n0"]
