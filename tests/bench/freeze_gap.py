"""What a process of its own costs and saves: `freeze_gap.py [--rounds 15]` prints two tables.

Gaps are those between the ticks of a thread of this process that sleeps 5 ms each time, while a text of
10,000 characters is scored or a PDF is read: what another chat would wait. "Process" is the worker's own,
"thread" one of this process, as where none can be started.
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
HOSTILE = {  # kinds that once held Python for seconds or for good
    "digits in brackets": "[1234567890123456789012345678901234567890 in the log. ",
    "open lists": "[0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, ... ",
    "lone quotation marks": "“ ‘ « „ It‘s ",
    "spaces and line ends": " \n  \t\n ",
    "times of day": "10 am ",
    "all of it": "“[20240131 120501 123456 INFO] ‘It‘s 10 am … [1, 2, 3 (½ × 10⁶ 兆. ",
}
CHARACTERS = 10_000
TICK_S = 0.005


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
            time.sleep(TICK_S)
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
        while not turn.prepare(0.0):  # while the model reads its prompt
            pass
        started_s = time.perf_counter()
        turn.score(answer, Finish.COMPLETE)
        return (time.perf_counter() - started_s) * 1000, turn.worked_s * 1000
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


def gap(work):
    """The longest gap in ms, how long it took in s, how it ended."""
    started_s, ended = time.perf_counter(), ""
    with Ticks() as ticks:
        try:
            work()
        except GuardError as error:
            ended = str(error)[:60]
    return ticks.longest_ms, time.perf_counter() - started_s, ended


def gaps(name, process, thread):
    """One row: the same work there and here."""
    cells = [f"{ms:8.1f} {s:7.2f}" for ms, s, _ in (process, thread)]
    print(f"{name:<26} {cells[0]:>18} {cells[1]:>18}   {process[2] or thread[2]}", flush=True)


def latency(name, work, rounds):
    answers = [
        " ".join(fact.replace("The cache", f"The cache {number}") for fact in FACTS)
        for number in range(rounds)
    ]
    both = [score(work, f"{name}-{number}", answer) for number, answer in enumerate(answers)]
    low, middle, high = statistics.quantiles([took for took, _ in both], n=4)
    worked = statistics.median(worked for _, worked in both)
    print(
        f"score 8 beside 5, {name:<8} p50 {middle:7.1f} ms   p25 {low:.1f}   p75 {high:.1f}   "
        f"of it processor time of its thread {worked:.1f} ms   n={rounds}",
        flush=True,
    )


def crossing(work, rounds):
    """What a piece of work costs where it has nothing to do."""
    times = []
    for _ in range(rounds):
        started_s = time.perf_counter()
        work.call("forget", "nothing", limit_s=LIMIT_S)
        times.append((time.perf_counter() - started_s) * 1000)
    print(f"to the process and back  p50 {statistics.median(times):.2f} ms   n={rounds}", flush=True)


def megabytes(pid):
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).memory_info().rss / 1e6
    return float("nan")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    process, thread = Worker(), WorkHere()
    started_s = time.perf_counter()
    WorkerEmbedder(process, "", LIMIT_S).embed(["warm"])
    print(f"start of the process and its models  {time.perf_counter() - started_s:6.2f} s")
    score(process, "warm", FACTS[0])
    crossing(process, 200)
    latency("process", process, rounds)
    texts = {name: (text * CHARACTERS)[:CHARACTERS] for name, text in HOSTILE.items()}
    there = {name: gap(lambda text=text: score(process, "bad", text)) for name, text in texts.items()}
    own_mb, other_mb = megabytes(psutil.Process().pid), megabytes(process.pid)
    print(f"memory: this process {own_mb:.0f} MB, the other {other_mb:.0f} MB")
    score(thread, "warm", FACTS[0])
    latency("thread", thread, rounds)
    print(f"memory: this process with the models {megabytes(psutil.Process().pid):.0f} MB")
    print(f"{'longest gap, time taken':<26} {'process: ms, s':>18} {'thread: ms, s':>18}")
    idle = gap(lambda: time.sleep(3))
    gaps("nothing", idle, idle)
    for name, text in texts.items():
        gaps(name, there[name], gap(lambda text=text: score(thread, "bad", text)))
    with tempfile.TemporaryDirectory() as folder:
        pdf = bomb_pdf(folder)
        read = [
            gap(lambda work=work: document_reader(work, LIMIT_S)(pdf, "bomb.pdf"))
            for work in (process, thread)
        ]
        gaps(f"a PDF of {pdf.stat().st_size} bytes", *read)
    process.close()


if __name__ == "__main__":
    main()
