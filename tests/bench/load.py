"""Reply latency of parallel API clients with the guard on, off and absent: `python tests/bench/load.py`.

The embedded host's own API and lock, a scripted model with a set time between two words, the real embedder.
Rounds alternate, so that whatever else the machine does falls on all three alike.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "extensions" / "exllama_guardrails")]

from exllama_guard.core.snippets import make_snippet  # noqa: E402 - needs the path
from exllama_guard.sources.marked_block import format_block  # noqa: E402 - needs the path
from load_clients import run_clients  # noqa: E402 - needs the path

GUARDS = ("on", "off", "absent")


class Host:
    """The served host, as a program of its own."""

    def __init__(self, folder: str, **options: object) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        command = [sys.executable, str(TESTS / "host" / "load_program.py"), str(self.port), folder]
        self._program = subprocess.Popen(
            [*command, json.dumps(options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._program.stdout is not None
        assert self._program.stdout.readline() == "up\n"

    def held(self) -> dict[str, object]:
        """What the monitor holds once it is idle."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write("\n")
        self._program.stdin.flush()
        return dict(json.loads(self._program.stdout.readline()))

    def end(self) -> None:
        """Stops the program."""
        self._program.terminate()
        self._program.communicate(timeout=30)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--turns", type=int, default=2, help="turns of each client in a round")
    parser.add_argument("--token-ms", type=float, default=20.0)
    parser.add_argument("--embedder", choices=("real", "fake"), default="real")
    given = parser.parse_args()
    block = format_block([make_snippet("The passage of MARKER: it holds 8192 tokens.", position=0)])
    options = {"token_ms": given.token_ms, "embedder": given.embedder}
    with tempfile.TemporaryDirectory() as folder:
        hosts = {guard: Host(f"{folder}/{guard}", guard=guard, **options) for guard in GUARDS}
        for host in hosts.values():
            run_clients(host.port, 2, 1, block, stream=True)
        took: dict[str, list[float]] = {guard: [] for guard in GUARDS}
        foreign = 0
        for _ in range(given.rounds):
            for guard, host in hosts.items():
                load = run_clients(host.port, given.clients, given.turns, block, stream=True)
                assert not load.failed, load.failed
                foreign += len(load.foreign)
                took[guard].append(statistics.mean(load.latencies_s))
                host.held()
        shed = hosts["on"].held()["shed"]
        for host in hosts.values():
            host.end()
    base = statistics.median(took["absent"])
    print(
        f"{given.clients} clients, {given.rounds} rounds of {given.turns} turns, {given.token_ms:g} ms a word"
    )
    print(f"{'guard':8} {'mean latency':>14} {'spread':>20} {'to absent':>10} {'paired':>8}")
    for guard, values in took.items():
        paired = statistics.median(a / b for a, b in zip(values, took["absent"], strict=True))
        print(
            f"{guard:8} {statistics.median(values) * 1000:11.1f} ms {min(values) * 1000:8.1f} to "
            f"{max(values) * 1000:8.1f} {statistics.median(values) / base:10.3f} {paired:8.3f}"
        )
    print(f"replies with a foreign marker: {foreign}; answers dropped unscored with the guard on: {shed}")


if __name__ == "__main__":
    main()
