"""The process of its own: what it costs when a piece of work is too long, breaks it, or it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import EXTENSION, ROOT
from exllama_guard.errors import OutOfTime, ProcessLost, SourceError, Stopped
from exllama_guard.worker import Lane, Need, Worker

PROGRAM = Path(__file__).with_name("parent_program.py")
LONG_S = 120.0


@pytest.fixture
def worker():
    made = Worker("worker.scripted_tasks")
    yield made
    made.close()
    assert made.pid is None


def waits_for(condition):
    until_s = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < until_s, "it did not come"
        time.sleep(0.02)


def is_alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def pid_of(worker):
    return worker.call("pid", limit_s=LONG_S).value


class InThread(threading.Thread):
    """A call on a thread of its own; what it gave or raised."""

    def __init__(self, worker, task, *arguments, **options):
        super().__init__(daemon=True)
        self.asked = (worker, task, arguments, {"limit_s": LONG_S, **options})
        self.value = self.error = None
        self.start()

    def run(self):
        worker, task, arguments, options = self.asked
        try:
            self.value = worker.call(task, *arguments, **options).value
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def outcome(self):
        self.join(LONG_S)
        assert not self.is_alive()
        return self.error or self.value


def begun(worker, tmp_path, seconds, **options):
    """A task under way in the process."""
    mark = tmp_path / f"begun-{len(list(tmp_path.iterdir()))}"
    call = InThread(worker, "sleep", seconds, str(mark), **options)
    waits_for(mark.exists)
    return call


def test_values_go_there_and_come_back(worker):
    value = ("a", 1, 2.5, None, True, ["x"], {"k": ("\ud800", "ü")}, frozenset({"f"}))
    assert worker.call("echo", value, limit_s=LONG_S).value == value
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    got = worker.call("echo", rows, limit_s=LONG_S).value
    assert (got.dtype, got.tolist()) == (rows.dtype, rows.tolist())
    large = "x" * 20_000_000
    assert worker.call("echo", large, limit_s=LONG_S).value == large


def test_it_is_another_process_that_lets_the_host_go_first(worker):
    assert pid_of(worker) == worker.pid != os.getpid()
    if hasattr(os, "nice"):
        assert worker.call("niceness", limit_s=LONG_S).value == min(19, os.nice(0) + 5)


def test_what_a_task_raises_is_raised_here_with_its_traceback(worker):
    with pytest.raises(SourceError, match=r"x\.pdf is encrypted"):
        worker.call("refuse", limit_s=LONG_S)
    with pytest.raises(ZeroDivisionError, match="made to raise") as caught:
        worker.call("wrong", limit_s=LONG_S)
    assert "scripted_tasks.py" in str(caught.value.__cause__)
    with pytest.raises(TypeError, match="object"):
        worker.call("no_value", limit_s=LONG_S)
    with pytest.raises(TypeError, match="object"):
        worker.call("echo", object(), limit_s=LONG_S)
    assert worker.call("echo", 1, limit_s=LONG_S).value == 1


def test_a_fault_of_a_task_that_nobody_waits_for_is_logged_with_its_traceback(worker, caplog):
    pid_of(worker)
    worker.tell("wrong")
    waits_for(lambda: caplog.messages)
    assert len(caplog.messages) == 1
    assert "ZeroDivisionError: made to raise" in caplog.text
    assert "scripted_tasks.py" in caplog.text


@pytest.mark.parametrize("task", ["sleep", "hold_python"])
def test_what_takes_too_long_is_ended_and_the_next_piece_is_done(worker, task):
    before = pid_of(worker)
    with pytest.raises(OutOfTime, match=r"took longer than 0\.5 s"):
        worker.call(task, *([600] if task == "sleep" else []), limit_s=0.5)
    assert worker.call("echo", "next", limit_s=LONG_S).value == "next"
    assert pid_of(worker) != before
    assert not is_alive(before)


def test_a_piece_that_goes_on_in_steps_has_the_time_for_each(worker):
    pid_of(worker)
    assert worker.call("in_steps", 8, 0.2, limit_s=1.0).value == 8


def test_killed_in_the_middle_it_costs_that_piece_only(worker, tmp_path):
    call = begun(worker, tmp_path, 600)
    os.kill(worker.pid, signal.SIGKILL)
    assert isinstance(call.outcome(), ProcessLost)
    assert "signal 9" in str(call.error)
    assert worker.call("echo", "next", limit_s=LONG_S).value == "next"


def test_a_piece_of_another_lane_is_done_again_in_the_next_process(worker, tmp_path):
    call = begun(worker, tmp_path, 1.0, lane=Lane.DOCUMENTS)
    with pytest.raises(OutOfTime):
        worker.call("hold_python", limit_s=0.3)
    assert call.outcome() == "slept"
    both = begun(worker, tmp_path, 1.0, lane=Lane.DOCUMENTS), begun(worker, tmp_path, 1.0)
    os.kill(worker.pid, signal.SIGKILL)
    assert [one.outcome() for one in both] == ["slept", "slept"]


def test_a_task_that_ends_the_process_is_done_twice_at_most(worker):
    with pytest.raises(ProcessLost, match="exit status 3"):
        worker.call("die", 3, limit_s=LONG_S)
    assert worker.call("echo", 1, limit_s=LONG_S).value == 1


def test_a_question_does_not_wait_for_the_other_lanes(worker, tmp_path):
    calls = begun(worker, tmp_path, 600), begun(worker, tmp_path, 600, lane=Lane.DOCUMENTS)
    assert worker.call("echo", "asked", limit_s=LONG_S, lane=Lane.QUESTION).value == "asked"
    assert all(call.is_alive() for call in calls)


def test_who_waits_no_longer_leaves_and_the_piece_goes_on(worker, tmp_path):
    pid = pid_of(worker)
    with pytest.raises(OutOfTime):
        worker.call("sleep", 1.0, limit_s=LONG_S, lane=Lane.QUESTION, patience_s=0.1)
    stop = threading.Event()
    call = begun(worker, tmp_path, 1.0, stop=stop)
    stop.set()
    assert isinstance(call.outcome(), Stopped)
    assert worker.call("echo", 1, limit_s=LONG_S).value == 1  # behind it in its lane
    assert pid_of(worker) == pid


def test_a_piece_that_was_left_and_never_ends_does_not_block_its_lane(worker):
    pid_of(worker)
    with pytest.raises(OutOfTime):
        worker.call("sleep", 600, limit_s=1.0, patience_s=0.1)
    assert worker.call("echo", "next", limit_s=LONG_S).value == "next"


def test_two_threads_get_their_own_answers_in_their_order(worker):
    got = {"a": [], "b": []}

    def ask(name):
        for number in range(200):
            got[name].append(worker.call("echo", (name, number), limit_s=LONG_S).value)

    threads = [threading.Thread(target=ask, args=(name,)) for name in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert got == {name: [(name, number) for number in range(200)] for name in got}


def test_the_next_process_loads_what_the_last_one_had_before_anybody_asks(worker):
    needs = Need("load", ("model",))
    worker.call("echo", 1, limit_s=LONG_S, needs=needs)
    first = worker.pid
    os.kill(first, signal.SIGKILL)
    waits_for(lambda: worker.pid not in (None, first) and needs in worker._process.loaded)


def test_one_that_cannot_start_says_so_with_the_remedy_and_is_not_tried_in_a_loop():
    worker = Worker("worker.tasks_that_cannot_start")
    try:
        for _ in range(50):
            with pytest.raises(
                ProcessLost, match=r"ended as it started \(exit status 1\).*Restart the WebUI"
            ):
                worker.call("echo", 1, limit_s=LONG_S)
        assert worker._failed <= 3
    finally:
        worker.close()


def no_python(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")


def forbidden(monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(subprocess, "Popen", refuse)


def frozen(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)


def another_program(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/true")


@pytest.mark.parametrize("hinder", [no_python, forbidden, frozen, another_program])
def test_where_none_can_be_started_the_work_is_done_here_and_that_is_told_once(monkeypatch, hinder, caplog):
    told = []
    hinder(monkeypatch)
    worker = Worker("worker.scripted_tasks")
    worker.when_here(told.append)
    needs = Need("load", ("model",))
    for lane in (*Lane, *Lane):
        assert worker.call("pid", limit_s=LONG_S, lane=lane, needs=needs).value == os.getpid()
    with pytest.raises(SourceError, match="encrypted"):
        worker.call("refuse", limit_s=LONG_S)
    assert len(told) == len(caplog.messages) == 1
    assert "no process of its own can be started (" in told[0]
    worker.when_here(told.append)  # who comes later hears it too
    assert told == [told[0]] * 2
    worker.tell("echo", 1)
    worker.close()
    assert worker.pid is None


def test_who_waits_for_work_done_here_leaves_in_time(monkeypatch):
    frozen(monkeypatch)
    worker = Worker("worker.scripted_tasks")
    with pytest.raises(OutOfTime):
        worker.call("sleep", 1.0, limit_s=LONG_S, patience_s=0.1)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        worker.call("sleep", 1.0, limit_s=LONG_S, stop=stop)
    assert worker.call("echo", 1, limit_s=LONG_S).value == 1


def test_one_that_has_run_and_cannot_be_started_again_is_told_and_nothing_is_done_here(monkeypatch):
    told = []
    worker = Worker("worker.scripted_tasks")
    worker.when_here(told.append)
    try:
        pid = pid_of(worker)
        forbidden(monkeypatch)
        os.kill(pid, signal.SIGKILL)
        waits_for(lambda: worker.pid is None)
        with pytest.raises(ProcessLost, match="Operation not permitted"):
            worker.call("echo", 1, limit_s=LONG_S)
        monkeypatch.undo()
        waits_for(lambda: worker._process.settled.is_set())
        worker._not_before_s = 0.0
        assert pid_of(worker) not in (pid, os.getpid())
        assert told == []
    finally:
        worker.close()


def test_the_time_of_a_piece_begins_after_what_the_next_process_loads(worker):
    needs = Need("load_slowly", ("model",))
    worker.call("echo", 1, limit_s=LONG_S, needs=needs)
    first = worker.pid
    os.kill(first, signal.SIGKILL)
    waits_for(lambda: worker.pid not in (None, first))
    second = worker.pid
    assert worker.call("pid", limit_s=0.5).value == second


def program(*arguments):
    """The program, and the number of its worker's process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(EXTENSION), str(ROOT / "tests")))}
    started = subprocess.Popen(
        [sys.executable, str(PROGRAM), *arguments], stdout=subprocess.PIPE, env=environment, text=True
    )
    return started, int(started.stdout.readline())


@pytest.mark.parametrize("task", ["sleep", "hold_python"])
def test_it_ends_with_a_host_that_is_killed(task):
    if sys.platform != "linux" and task == "hold_python":
        pytest.skip("only Linux ends a process whose Python does not get to run")
    host, pid = program("hang", task)
    try:
        host.kill()
        host.wait()
        killed_s = time.monotonic()
        waits_for(lambda: not is_alive(pid))
        print(f"\nit ended {time.monotonic() - killed_s:.2f} s after its host")
    finally:
        host.stdout.close()
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_it_ends_with_a_host_that_exits():
    host, pid = program("exit")
    said = host.stdout.read()
    assert host.wait(LONG_S) == 0
    host.stdout.close()
    waits_for(lambda: not is_alive(pid))
    assert said == ""
