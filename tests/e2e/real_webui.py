"""A real WebUI for tests: a copy of a checkout with this extension in it, started, asked, stopped.

TEXTGEN_WEBUI_DIR names checkouts, TEXTGEN_WEBUI_PYTHON their Pythons, TEXTGEN_MODEL a small Hugging Face
folder that both can read. Checkouts are copied; nothing is written into them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import EXTENSION, SHARED

CHECKOUTS = [Path(folder) for folder in os.environ.get("TEXTGEN_WEBUI_DIR", "").split(os.pathsep) if folder]
PYTHONS = os.environ.get("TEXTGEN_WEBUI_PYTHON", "").split(os.pathsep)
MODEL = Path(os.environ.get("TEXTGEN_MODEL", ""))


def hosts(wanted=lambda checkout: True):
    """The checkouts to run on as parameters of a test; where there is none, a skip that says why."""
    found = [
        (path, PYTHONS[n] if n < len(PYTHONS) else "") for n, path in enumerate(CHECKOUTS) if wanted(path)
    ]
    if not found or not MODEL.is_dir():
        reason = "set TEXTGEN_WEBUI_DIR, TEXTGEN_WEBUI_PYTHON and TEXTGEN_MODEL to run this in the real WebUI"
        return [pytest.param(None, id="real", marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(one, id=one[0].name) for one in found]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def is_v4(checkout: Path) -> bool:
    return not (checkout / "modules" / "exllamav2.py").exists()


@dataclass
class Copy:
    """A checkout of its own with the extension and the probe in it."""

    folder: Path
    python: str
    user_data: Path


def copied(checkout: Path, python: str, folder: Path) -> Copy:
    host = folder / "host"
    shutil.copytree(checkout, host, ignore=shutil.ignore_patterns(".git", "user_data/models"))
    extensions = (host / "user_data" if is_v4(host) else host) / "extensions"
    extensions.mkdir(parents=True, exist_ok=True)
    shutil.copytree(
        EXTENSION, extensions / "exllama_guardrails", ignore=shutil.ignore_patterns("__pycache__")
    )
    (extensions / "lifecycle_probe").mkdir()
    shutil.copy(Path(__file__).with_name("lifecycle_probe.py"), extensions / "lifecycle_probe" / "script.py")
    return Copy(host, python, host / "user_data")


class Server:
    """A running host, and what the probe extension in it writes."""

    def __init__(self, process, page, api, probe, log, key=""):
        self.process, self.page, self.api, self.probe, self.log = process, page, api, probe, log
        self.key = key

    def ask(self, path, body=None, timeout_s=180, **headers):
        """The response of the API as values; raises where it is an error's."""
        with self._answer(path, body, timeout_s, headers) as answer:
            return json.loads(answer.read() or "null")

    def stream(self, path, body, timeout_s=180):
        """The events of a streamed response as values, in order."""
        with self._answer(path, body, timeout_s, {}) as answer:
            lines = [line.decode().strip() for line in answer]
        return [json.loads(line[5:]) for line in lines if line.startswith("data:") and "[DONE]" not in line]

    def _answer(self, path, body, timeout_s, headers):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        data = None if body is None else json.dumps(body).encode()
        known = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        headers = {**known, "x-api-key": self.key, **headers}
        request = urllib.request.Request(f"http://127.0.0.1:{self.api}{path}", data, headers)
        try:
            return opener.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            error.close()
            raise

    def chat(self, text="What is the capital of France?"):
        body = {
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 12,
            "temperature": 0,
            "top_k": 1,
        }
        return self.ask("/v1/chat/completions", body)["choices"][0]["message"]["content"]

    def known(self):
        with contextlib.suppress(OSError, ValueError):
            return json.loads(self.probe.read_text(encoding="utf-8"))
        return {}

    def wait_for(self, wanted, limit_s=120):
        until_s = time.monotonic() + limit_s
        while time.monotonic() < until_s:
            known = self.known()
            if known and wanted(known):
                return known
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            time.sleep(0.2)
        raise AssertionError(f"not seen within {limit_s} s: {json.dumps(self.known(), indent=1)}")

    def has_page(self, limit_s=90):
        """Whether the page comes up, some seconds after the API.

        Gradio gives its own page 3 s to answer while it starts, and ends where a busy machine takes longer.
        """
        until_s = time.monotonic() + limit_s
        while time.monotonic() < until_s and self.process.poll() is None:
            printed = self.log.read_text()
            if "Running on local URL" in printed:
                return True
            if "ReadTimeout" in printed:
                return False
            time.sleep(0.5)
        return False

    def do(self, what: str) -> None:
        """Has the probe do one of its errands inside the host."""
        self.probe.with_suffix(".do").write_text(what, encoding="utf-8")


@contextlib.contextmanager
def running(
    copy: Copy, *flags: str, model: Path = MODEL, loader: str = "Transformers", python_path: str = ""
):
    page, api, log = free_port(), free_port(), copy.folder.parent / "log"
    probe = copy.folder.parent / "probe.json"
    probe.unlink(missing_ok=True)
    command = [
        copy.python, "server.py", "--loader", loader, "--model-dir", str(model.parent),
        "--model", model.name, "--api", "--api-port", str(api), "--listen-port", str(page),
        "--extensions", "exllama_guardrails", "lifecycle_probe", *flags,
    ]  # fmt: skip
    paths = [str(SHARED / "webui-shim"), *filter(None, [python_path])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "LIFECYCLE_PROBE": str(probe),
        "OMP_NUM_THREADS": "2",
        "PYTHONUNBUFFERED": "1",  # the log holds what was printed so far
        "no_proxy": "127.0.0.1,localhost",
    }
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            cwd=copy.folder,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own: llama.cpp's server outlives the WebUI
        )
    key = flags[flags.index("--api-key") + 1] if "--api-key" in flags else ""
    server = Server(process, page, api, probe, log, key)
    try:
        until_s = time.monotonic() + 180
        while time.monotonic() < until_s and process.poll() is None:
            with contextlib.suppress(OSError):
                server.ask("/v1/models", timeout_s=2)
                break
            time.sleep(0.5)
        yield server
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(120)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
