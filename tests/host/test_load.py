"""16 clients at once on the embedded host's API: no text crosses, what is dropped is counted.

GUARDRAILS_LOAD_TURNS sets how many turns each client takes (200 take about a minute).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from exllama_guard.core.snippets import make_snippet
from exllama_guard.sources.marked_block import format_block
from exllama_guard.trace.files import read_traces
from load_clients import MARKER, run_clients
from programs import end

pytest.importorskip("fastapi")

CLIENTS = 16
TURNS = int(os.environ.get("GUARDRAILS_LOAD_TURNS", "40"))
BLOCK = format_block([make_snippet("The passage of MARKER: it holds 8192 tokens.", position=0)])


@pytest.fixture
def served(tmp_path, unused_port):
    """Starts the host with options; gives (port, a function that asks the host what it holds)."""
    started = []

    def serve(**options):
        command = [sys.executable, str(Path(__file__).with_name("load_program.py"))]
        command += [str(unused_port), str(tmp_path), json.dumps(options)]
        program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(program)
        assert program.stdout.readline() == "up\n"

        def ask():
            program.stdin.write("\n")
            program.stdin.flush()
            return json.loads(program.stdout.readline())

        return unused_port, ask

    yield serve
    for program in started:
        end(program)


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _traced(folder):
    """Each trace's marker; fails where a trace holds two."""
    found = []
    for record in read_traces(folder / "exllama_guardrails" / "traces"):
        texts = [record.question, record.answer, *(snippet.text for snippet in record.snippets)]
        assert record.snippets, "the passage was not found"
        markers = set(MARKER.findall(" ".join(texts)))
        assert len(markers) == 1, markers
        found.append(markers.pop())
    return found


def test_sixteen_clients_get_and_leave_only_their_own(served, tmp_path):
    port, ask = served(token_ms=0.2)
    load = run_clients(port, CLIENTS, TURNS, BLOCK)
    assert (load.failed, load.foreign) == ([], [])
    assert len(load.latencies_s) == CLIENTS * TURNS
    held = ask()
    assert held["idle"]
    assert (held["open"], held["waiting"], held["problems"]) == (0, 0, [])
    traced = _traced(tmp_path)
    assert len(traced) == len(set(traced))
    assert len(traced) + held["shed"] == CLIENTS * TURNS
    print(f"{CLIENTS * TURNS} turns, {held['shed']} dropped, p50 {load.p50_s * 1000:.0f} ms")


def test_what_does_not_fit_the_queue_is_dropped_oldest_first_and_counted(served, tmp_path):
    port, ask = served(token_ms=0, queue_limit=2, embed_ms=50)
    load = run_clients(port, CLIENTS, 10, BLOCK, stream=True)
    assert (load.failed, load.foreign) == ([], [])
    held = ask()
    traced = _traced(tmp_path)
    assert held["shed"] > 0
    assert len(traced) + held["shed"] == CLIENTS * 10
    assert held["open"] == 0
