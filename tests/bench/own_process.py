"""What a process of its own costs and saves: `own_process.py [--rounds 15]` prints a table.

Gaps are those between the ticks of a thread of this process that sleeps 1 ms each time, while a text is
worked on: what another chat would wait. Here and there mean in this process and in the worker's.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "extensions" / "exllama_guardrails"))

from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import Finish, TurnRequest
from exllama_guard.errors import GuardError
from exllama_guard.settings import Settings
from exllama_guard.worker import Worker, WorkerEmbedder, WorkerTurn, WorkHere, document_reader

LIMIT_S = 30.0
FACTS = [f"The cache of node {n} holds {n * 512} tokens and is reset at {n} o'clock." for n in range(1, 9)]
SNIPPETS = [" ".join(FACTS[n : n + 3]) + " It is written in the manual of the year." for n in range(5)]
ODD = ("“[20240131 120501 123456 INFO] ‘It‘s 10 am … [1, 2, 3 (½ × 10⁶ 兆 " * 4_000)[:200_000]


class Ticks:
    """The longest gap between two ticks, in ms, while inside."""

    def __enter__(self):
        self.longest_ms, self._on = 0.0, True
        self._thread = threading.Thread(target=self._tick)
        self._thread.start()
        return self

    def _tick(self):
        last_s = time.perf_counter()
        while self._on:
            time.sleep(0.001)
            now_s = time.perf_counter()
            self.longest_ms = max(self.longest_ms, (now_s - last_s) * 1000)
            last_s = now_s

    def __exit__(self, *_):
        self._on = False
        self._thread.join()


def score(work, number, answer):
    snippets = tuple(make_snippet(f"{text} ({number})", position=i) for i, text in enumerate(SNIPPETS))
    request = TurnRequest(f"turn-{number}", "How many tokens does the cache hold?", snippets)
    turn = WorkerTurn(work, request, Settings(work_limit_s=LIMIT_S), None)
    try:
        return turn.score(answer, Finish.COMPLETE)
    finally:
        turn.forget()


def bomb_pdf(folder):
    """A PDF of some kilobytes with a million text operators in one compressed page."""
    import zlib

    page = zlib.compress(b"BT /F1 1 Tf " + b"(a) Tj " * 1_000_000 + b"ET", 9)
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(page), page),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    start = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % start
    path = Path(folder) / "bomb.pdf"
    path.write_bytes(out)
    return path


def gap(name, work):
    """One row: longest gap, how long it took, how it ended."""
    started_s, ended = time.perf_counter(), "done"
    with Ticks() as ticks:
        try:
            work()
        except GuardError as error:
            ended = str(error)[:90]
    took_s = time.perf_counter() - started_s
    print(f"{name:<44} longest gap {ticks.longest_ms:8.1f} ms   took {took_s:6.2f} s   {ended}", flush=True)


def latency(name, work, rounds):
    times = []
    for number in range(rounds):
        started_s = time.perf_counter()
        score(work, f"{name}-{number}", " ".join(FACTS))
        times.append((time.perf_counter() - started_s) * 1000)
    low, middle, high = statistics.quantiles(times, n=4)
    print(
        f"score 8 x 5 {name:<32} p50 {middle:8.1f} ms   p25 {low:.1f}   p75 {high:.1f}   n={rounds}",
        flush=True,
    )
    return middle


def megabytes(pid):
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).memory_info().rss / 1e6
    return float("nan")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    there, here = Worker(), WorkHere()
    started_s = time.perf_counter()
    WorkerEmbedder(there, "", LIMIT_S).embed(["warm"])
    print(f"start of the process and its models           {time.perf_counter() - started_s:6.2f} s")
    score(there, "warm", FACTS[0])
    there_ms = latency("there", there, rounds)
    own_mb, other_mb = megabytes(psutil.Process().pid), megabytes(there.pid)
    print(f"memory: this process {own_mb:.0f} MB, the worker's {other_mb:.0f} MB")
    with tempfile.TemporaryDirectory() as folder:
        pdf = bomb_pdf(folder)
        print(f"the PDF has {pdf.stat().st_size} bytes, the odd text {len(ODD)} characters")
        gap("nothing", lambda: time.sleep(3))
        gap("odd text, there", lambda: score(there, "odd", ODD))
        gap("PDF, there", lambda: document_reader(there, LIMIT_S)(pdf, "bomb.pdf"))
        score(here, "warm", FACTS[0])
        here_ms = latency("here", here, rounds)
        print(f"there / here {there_ms / here_ms:.2f}")
        print(f"memory: this process with the models {megabytes(psutil.Process().pid):.0f} MB")
        gap("odd text, here", lambda: score(here, "odd", ODD))
        gap("PDF, here (no limit)", lambda: document_reader(here, LIMIT_S)(pdf, "bomb.pdf"))
    there.close()


if __name__ == "__main__":
    main()
