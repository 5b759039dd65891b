"""Tasks for tests of the worker: each does what its name says, in the process that it is asked for."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

from exllama_guard.errors import SourceError
from exllama_guard.worker.loop import step


def echo(value):
    return value


def pid():
    return os.getpid()


def niceness():
    return os.nice(0)


def sleep(seconds, mark=""):
    if mark:
        Path(mark).write_text("begun", encoding="utf-8")
    time.sleep(seconds)
    return "slept"


def hold_python():
    """Never comes back, and never lets another thread of the process run."""
    re.match(r"(a+)+\Z", "a" * 60 + "b")


def die(status):
    os._exit(status)


def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def wrong():
    raise ZeroDivisionError("made to raise")


def refuse():
    raise SourceError("x.pdf is encrypted; save a copy without a password.")


def no_value():
    return object()


def in_steps(count, seconds):
    for _ in range(count):
        time.sleep(seconds)
        step()
    return count


def load(name):
    return name


def load_slowly(name):
    time.sleep(1.5)
    return name


TASKS = {
    task.__name__: task
    for task in (
        *(echo, pid, niceness, sleep, hold_python, die, be_killed, wrong, refuse, no_value, in_steps, load),
        load_slowly,
    )
}
