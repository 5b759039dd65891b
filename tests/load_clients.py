"""Parallel clients of an OpenAI-like chat API, each turn with a marker of its own."""

from __future__ import annotations

import http.client
import json
import re
import statistics
import threading
import time
from dataclasses import dataclass, field

MARKER = re.compile(r"m\d+n\d+m")


@dataclass
class Load:
    """What the clients saw."""

    latencies_s: list[float] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def p50_s(self) -> float:
        return statistics.median(self.latencies_s)


def question(client: int, turn: int, block: str = "") -> str:
    """A question with a passage to check against."""
    marker = f"m{client}n{turn}m"
    return f"{block.replace('MARKER', marker)}\n\nWhat does the passage say of {marker}?"


def run_clients(
    port: int, clients: int, turns: int, block: str, *, stream: bool = False, timeout_s: float = 120
) -> Load:
    """Every client asks `turns` questions, one after the other; all clients at once."""
    seen = Load()

    def one(client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        for turn in range(turns):
            asked = question(client, turn, block)
            body = {"messages": [{"role": "user", "content": asked}], "stream": stream, "temperature": 0}
            started_s = time.perf_counter()
            try:
                connection.request("POST", "/v1/chat/completions", json.dumps(body))
                response = connection.getresponse()
                text = response.read().decode()
            except OSError as error:
                seen.failed.append(f"m{client}n{turn}m: {error}")
                return
            seen.latencies_s.append(time.perf_counter() - started_s)
            markers = set(MARKER.findall(text))
            if response.status != 200:
                seen.failed.append(text[:200])
            elif markers != {f"m{client}n{turn}m"}:
                seen.foreign.append(f"m{client}n{turn}m got {markers}")
        connection.close()

    threads = [threading.Thread(target=one, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen
