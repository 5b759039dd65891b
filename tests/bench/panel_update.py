"""What the panel costs: `python tests/bench/panel_update.py [updates] [history] [browser]`.

updates: server time and size of every update while a reply streams, its first included, for a short and a
long answer; limits 2 ms and 2,048 bytes. CPU time is that of the answering thread alone, which other
work on the machine does not lengthen. The baseline is `json.dumps` of the same packet, in the same run.
history: 5,000 turns in the trace files: reading them the first time, and each page after that.
browser: the panel's first paint after the page's own, and the requests of an idle page (needs chromium).
Without names all three are measured.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TURNS = 5000
IDLE_S = 20.5
LOADS = 7


def main(names: list[str]) -> None:
    sys.path[:0] = [str(ROOT / "extensions" / "exllama_guardrails"), str(ROOT / "tests")]
    for name, measure in (("updates", updates), ("history", history), ("browser", browser)):
        if not names or name in names:
            measure()
            print()


# --- while a reply streams -------------------------------------------------------------------------------


def updates() -> None:
    head = (
        "wall ms p50",
        "cpu ms p50",
        "cpu ms p95",
        "cpu ms max",
        "x dumps",
        "bytes median",
        "bytes max",
        "request max",
    )
    print(f"{'streamed update':22}" + "".join(f"{name:>13}" for name in head))
    for tab, shown in (("", "folded"), ("turn", "turn page")):
        for sentences in (12, 120):
            row = _streamed(tab, sentences)
            print(f"{f'{shown}, {sentences} sentences':22}" + "".join(f"{cell:>13}" for cell in row))


def _streamed(tab: str, sentences: int) -> list[str]:
    from exllama_guard.panel.desk import Desk
    from panel.scripted import BAD, open_turn, scripted_monitor
    from panel.test_desk import ME, Client

    monitor = scripted_monitor()
    client = Client(Desk(monitor), tab=tab)
    client.ask()
    handle = open_turn(monitor, 1)
    answer = " ".join([BAD] * (sentences // 4))
    step = max(10, len(answer) // 150)
    times, sizes, dumps, asked, cpu = [], [], [], [], []
    for end in range(20, len(answer), step):
        handle.due_at_s = 0.0
        handle.chunk(answer[:end])
        monitor.wait_until_idle(10)
        message = client.message()
        started, worked = time.perf_counter(), time.thread_time()
        text = client.desk.answer(message, ME)
        cpu.append((time.thread_time() - worked) * 1000)
        times.append((time.perf_counter() - started) * 1000)
        sizes.append(len(text.encode()))
        asked.append(len(message.encode()))
        if text:
            packet = json.loads(text)
            started = time.perf_counter()
            json.dumps(packet)
            dumps.append((time.perf_counter() - started) * 1000)
            client.take(packet)
    median = statistics.median(times)
    return [
        f"{median:.2f}",
        f"{statistics.median(cpu):.2f}",
        f"{statistics.quantiles(cpu, n=20)[-1]:.2f}",
        f"{max(cpu):.2f}",
        f"{median / statistics.median(dumps):.1f}",
        f"{statistics.median(sizes):.0f}",
        f"{max(sizes)}",
        f"{max(asked)}",
    ]


# --- history ---------------------------------------------------------------------------------------------


def history() -> None:
    from exllama_guard.panel.desk import Desk
    from exllama_guard.settings import Settings
    from exllama_guard.trace.files import TraceWriter
    from panel.scripted import BAD, GOOD, run_turn, scripted_monitor
    from panel.test_desk import Client

    with tempfile.TemporaryDirectory() as folder:
        for number, answer in enumerate((GOOD, BAD)):
            made = scripted_monitor()
            run_turn(made, number, answer)
            turn = made.snapshot().turns[0]
            writer = TraceWriter(Path(folder), file_bytes=8_000_000, files_kept=20)
            for copy in range(TURNS // 2):
                request = replace(turn.request, turn_id=f"turn-{number}-{copy}", chat_id=f"chat-{copy % 40}")
                writer.write(replace(turn, request=request))
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        monitor = scripted_monitor(Settings(trace_folder=folder))
        client = Client(Desk(monitor), tab="history")
        started = time.perf_counter()
        first = client.ask()
        looking_s = time.perf_counter() - started
        while client.last.get("more"):
            client.ask()
        reading_s = time.perf_counter() - started
        pages, sizes = [], []
        for page in range(1, 200, 5):
            started = time.perf_counter()
            text = client.ask(filter={"page": page}, same=False)
            pages.append((time.perf_counter() - started) * 1000)
            sizes.append(len(text.encode()))
        started = time.perf_counter()
        client.ask(filter={"verdict": "FAIL"}, same=False)
        filtering_ms = (time.perf_counter() - started) * 1000
    print(f"history of {TURNS} turns ({size / 1e6:.1f} MB of traces)")
    print(f"  the first look           {looking_s:8.2f} s   ({len(first.encode())} bytes)")
    print(f"  all read                 {reading_s:8.2f} s   (in looks of 0.25 s, once)")
    print(f"  another page, median     {statistics.median(pages):8.2f} ms  (max {max(pages):.2f}, "
          f"{statistics.median(sizes):.0f} bytes)")  # fmt: skip
    print(f"  another filter           {filtering_ms:8.2f} ms")


# --- a browser -------------------------------------------------------------------------------------------

_WATCH = """() => {
  window.painted = {};
  const look = () => {
    const page = document.querySelector(".gradio-container h2");
    if (page && page.offsetHeight) window.painted.page ??= performance.now();
    const root = document.getElementById("eg-root");
    if (root && root.offsetHeight) window.painted.frame ??= performance.now();
    const glance = root && root.querySelector("[data-slot=glance]");
    if (glance && glance.dataset.h) window.painted.filled ??= performance.now();
    if (!window.painted.filled) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""


def browser() -> None:
    import real_browser

    if real_browser.executable() is None:
        print(f"browser: {real_browser.MISSING}")
        return
    with _Demo() as url, real_browser.started() as started:
        frames, filled = [], []
        for _ in range(LOADS):
            page = started.new_page()
            page.add_init_script(f"({_WATCH})()")
            page.goto(url)
            while not page.evaluate("() => window.painted && window.painted.filled"):
                page.wait_for_timeout(50)
            painted = page.evaluate("() => window.painted")
            frames.append(painted["frame"] - painted["page"])
            filled.append(painted["filled"] - painted["page"])
            if len(frames) < LOADS:
                page.close()
        page.evaluate("() => { window.egGuard.state.awakeUntil = 0; }")
        page.wait_for_timeout(1500)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.wait_for_timeout(IDLE_S * 1000)
    for name, times in (("frame", frames), ("filled", filled)):
        rest = times[1:]  # the first load fills the browser's cache
        print(
            f"panel's {name:7} after the page's own heading: median {statistics.median(rest):6.1f} ms, "
            f"max {max(rest):6.1f} ms ({len(rest)} loads)"
        )
    print(f"idle: {len(asked)} requests in {IDLE_S:.1f} s, one in {IDLE_S / max(1, len(asked)):.1f} s")


class _Demo:
    """The demo page in a process of its own; gives its address."""

    def __enter__(self) -> str:
        from e2e.panel_page import Served

        self._folder = tempfile.TemporaryDirectory()
        self._served = Served(sys.executable, Path(self._folder.name))
        self._served.run("run 1 bad")
        return self._served.url

    def __exit__(self, *fault: object) -> None:
        self._served.close()
        self._folder.cleanup()


if __name__ == "__main__":
    main(sys.argv[1:])
