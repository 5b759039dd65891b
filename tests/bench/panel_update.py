"""Server time and size of a streamed update of the panel: `python tests/bench/panel_update.py`.

Limits to hold: 2 ms of server time and 2,048 bytes on the wire. The first packet, which draws the turn, is
shown apart; the baseline is `json.dumps` of the same packet, in the same run.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    sys.path[:0] = [str(ROOT / "extensions" / "exllama_guardrails"), str(ROOT / "tests")]
    from exllama_guard.panel.desk import Desk
    from panel.scripted import BAD, open_turn, scripted_monitor
    from panel.test_desk import ME, Client

    head = ("ms median", "ms p95", "x dumps", "bytes median", "bytes max", "first")
    print(f"{'tab':8}" + "".join(f"{name:>14}" for name in head))
    for tab in ("", "turn"):
        monitor = scripted_monitor()
        client = Client(Desk(monitor), tab=tab)
        handle = open_turn(monitor, 1)
        client.ask()
        answer = " ".join([BAD] * 4)
        times, sizes, dumps = [], [], []
        for end in range(20, len(answer), 10):
            handle.due_at_s = 0.0
            handle.chunk(answer[:end])
            monitor.wait_until_idle(10)
            message = json.dumps({"v": client.last["v"], "tab": tab, "have": client.have, "same": True})
            started = time.perf_counter()
            text = client.desk.answer(message, ME)
            times.append((time.perf_counter() - started) * 1000)
            sizes.append(len(text.encode()))
            packet = json.loads(text)
            started = time.perf_counter()
            json.dumps(packet)
            dumps.append((time.perf_counter() - started) * 1000)
            client.take(packet)
        median = statistics.median(times[1:])
        ratio = median / statistics.median(dumps[1:])
        p95 = statistics.quantiles(times[1:], n=20)[-1]
        rest = sizes[1:]
        row = f"{tab or 'folded':8}{median:14.2f}{p95:14.2f}{ratio:14.1f}{statistics.median(rest):14.0f}"
        print(row + f"{max(rest):14d}{sizes[0]:14d}")


if __name__ == "__main__":
    main()
