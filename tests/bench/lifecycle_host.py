"""The first answer after a load in the real WebUI, with and without the warm-up: a table.

    TEXTGEN_WEBUI_DIR=… TEXTGEN_WEBUI_PYTHON=… TEXTGEN_MODEL=… \\
        python tests/bench/lifecycle_host.py [--loader llama.cpp] [--loads 3]

Five completions by the API, streamed, whose prompts differ from their first word on (so that no prefix is
reused) and are equally long. Transformers is loaded in a new WebUI each time, because torch stays warm in a
process; llama.cpp's server is a new process with each load. Bound with the warm-up: 1.25.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "extensions" / "exllama_guardrails")]

from contract.llama_server import binary  # noqa: E402 - needs the path
from e2e.real_webui import CHECKOUTS, MODEL, PYTHONS, copied, running  # noqa: E402
from exllama_guard.backends.bundled import bundled_gguf  # noqa: E402

SUBJECTS = ("Whales", "Trains", "Apples", "Clouds", "Stones")
PROMPT = "{} are what this page describes. It begins with where they are found, and then it says that"


def processor_s(group: int) -> float:
    """Processor seconds that the WebUI and the servers it started have taken so far."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
            if int(fields[2]) == group:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def first_token_s(server, prompt: str) -> tuple[float, float]:
    """Seconds and processor seconds from the request to the first streamed text."""
    body = json.dumps(
        {"prompt": prompt, "max_tokens": 8, "temperature": 1, "top_k": 1, "seed": 1, "stream": True}
    )
    connection = http.client.HTTPConnection("127.0.0.1", server.api, timeout=300)
    with contextlib.closing(connection):
        busy_s, started_s = processor_s(server.process.pid), time.perf_counter()
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        first_s = None
        for line in connection.getresponse():
            if first_s is None and line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["text"]:
                first_s = time.perf_counter() - started_s, processor_s(server.process.pid) - busy_s
    if first_s is None:
        raise SystemExit("no text came; look at the WebUI's log")
    return first_s


def five_turns(server) -> list[tuple[float, float]]:
    server.wait_for(lambda known: known.get("loaded") and known["state"] not in {"warming up", "no model"})
    return [first_token_s(server, PROMPT.format(subject)) for subject in SUBJECTS]


def loads(copy, loader: str, wanted: int) -> list[list[tuple[float, float]]]:
    """First-token times of five turns after each of `wanted` loads."""
    if loader == "Transformers":
        found = []
        for _ in range(wanted):
            with running(copy, "--cpu", "--nowebui") as server:
                found.append(five_turns(server))
        return found
    model = bundled_gguf()
    flags = ("--nowebui", "--ctx-size", "2048", "--gpu-layers", "0", "--threads", "2")
    with running(copy, *flags, model=model, loader=loader, python_path=str(copy.folder.parent)) as server:
        found = [five_turns(server)]
        for _ in range(wanted - 1):
            server.ask("/v1/internal/model/unload", {})
            server.ask("/v1/internal/model/load", {"model_name": model.name})
            found.append(five_turns(server))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loader", choices=["Transformers", "llama.cpp"], default="Transformers")
    parser.add_argument("--loads", type=int, default=3)
    options = parser.parse_args()
    if not CHECKOUTS or not MODEL.is_dir():
        sys.exit("set TEXTGEN_WEBUI_DIR, TEXTGEN_WEBUI_PYTHON and TEXTGEN_MODEL")
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(CHECKOUTS[0], PYTHONS[0], Path(folder))
        (Path(folder) / "llama_cpp_binaries.py").write_text(
            f"def get_binary_path():\n    return {binary()!r}\n"
        )
        print(f"{CHECKOUTS[0].name}, {options.loader}, {options.loads} loads of {len(SUBJECTS)} turns")
        for warmup in (True, False):
            (copy.user_data / "settings.yaml").write_text(
                f"exllama_guardrails-warmup: {str(warmup).lower()}\n"
            )
            found = loads(copy, options.loader, options.loads)
            for place, name in enumerate(("", ", processor time")):
                first = [turns[0][place] for turns in found]
                later = [statistics.median(turn[place] for turn in turns[1:]) for turns in found]
                ratios = [one / many for one, many in zip(first, later, strict=True)]
                print(
                    f"warm-up {'on ' if warmup else 'off'}: first turn {statistics.median(first):6.2f} s, "
                    f"turns 2-5 {statistics.median(later):6.2f} s, ratio {statistics.median(ratios):.2f} "
                    f"({min(ratios):.2f} .. {max(ratios):.2f}){' <= 1.25' if warmup else ''}{name}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
