"""Kills a process that writes traces, again and again: `crash_program.py FOLDER KILLS SEED`.

Prints as JSON how many lines the killed writers had finished, and what is read of the folder in the end.
A child is forked, so that a kill costs no start of Python; the next one goes on in the same folder.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "extensions" / "exllama_guardrails"))

from exllama_guard.core.turns import TurnRequest  # noqa: E402 - needs the path
from exllama_guard.testing import make_monitor  # noqa: E402
from exllama_guard.trace.files import TraceWriter, read_lines, trace_files  # noqa: E402
from exllama_guard.trace.line import to_line  # noqa: E402
from exllama_guard.trace.record import record_of  # noqa: E402


def report():
    monitor = make_monitor()
    request = TurnRequest(turn_id="t", question="How many?", snippets=(), started_at_s=1.0)
    return monitor.measure(request, "It holds 8192 tokens.")


def write_on(folder, base, number, told):
    """Writes until it is killed; after each line its number goes to `told`."""
    writer = TraceWriter(folder, file_bytes=200_000, files_kept=100_000)
    while True:
        answer = "x" * (number * 7919 % 60_000)
        request = replace(base.request, turn_id=f"n{number}")
        writer.write(replace(base, request=request, answer=answer))
        os.write(told, f"{number}\n".encode())
        number += 1


def main():
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    choose = random.Random(seed)  # noqa: S311 - repeatable on purpose
    base = report()
    to_line(record_of(base))  # builds what is built once
    finished, number = [], 0
    for _ in range(kills):
        read, told = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            write_on(folder, base, number, told)
        os.close(told)
        first = os.read(read, 1)  # it has finished a line, however busy the machine is
        time.sleep(choose.uniform(0.001, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(read, "rb") as pipe:
            numbers = [int(line) for line in (first + pipe.read()).splitlines()]
        finished += numbers
        number = (numbers[-1] if numbers else number) + 2  # the one after the last may have been written
    lines = [line for path in trace_files(folder) for line in read_lines(path)]
    good = [int(line.record.trace_id[1:]) for line in lines if line.record is not None]
    modes = {oct(path.stat().st_mode & 0o777) for path in trace_files(folder)}
    told = {
        "finished": len(finished), "lost": sorted(set(finished) - set(good)), "good": len(good),
        "twice": len(good) - len(set(good)), "cut": sum(line.record is None for line in lines),
        "files": len(trace_files(folder)), "modes": sorted(modes), "in_order": good == sorted(good),
    }  # fmt: skip
    print(json.dumps(told))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
