"""Load, unload and reload in the real WebUI, by its API and its page: events, warm-up, freed memory.

TEXTGEN_WEBUI_DIR names checkouts, TEXTGEN_WEBUI_PYTHON their Pythons, TEXTGEN_MODEL a small Hugging Face
folder that both can read. Checkouts are copied; nothing is written into them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import EXTENSION, SHARED

pytestmark = pytest.mark.webui
CHECKOUTS = [Path(folder) for folder in os.environ.get("TEXTGEN_WEBUI_DIR", "").split(os.pathsep) if folder]
PYTHONS = os.environ.get("TEXTGEN_WEBUI_PYTHON", "").split(os.pathsep)
MODEL = Path(os.environ.get("TEXTGEN_MODEL", ""))


def _hosts():
    for number, checkout in enumerate(CHECKOUTS):
        yield pytest.param((checkout, PYTHONS[number] if number < len(PYTHONS) else ""), id=checkout.name)
    if not CHECKOUTS or not MODEL.is_dir():
        reason = "set TEXTGEN_WEBUI_DIR, TEXTGEN_WEBUI_PYTHON and TEXTGEN_MODEL to run this in the real WebUI"
        yield pytest.param(None, id="real", marks=pytest.mark.skip(reason=reason))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    def __init__(self, process, page, api, probe, log):
        self.process, self.page, self.api, self.probe, self.log = process, page, api, probe, log

    def ask(self, path, body=None, timeout_s=180):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.api}{path}", data, headers)
        with opener.open(request, timeout=timeout_s) as answer:
            return json.loads(answer.read() or "null")

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


@contextlib.contextmanager
def _started(checkout: Path, python: str, folder: Path):
    host = folder / "host"
    shutil.copytree(checkout, host, ignore=shutil.ignore_patterns(".git", "user_data/models"))
    v4 = not (host / "modules" / "exllamav2.py").exists()
    extensions = (host / "user_data" if v4 else host) / "extensions"
    extensions.mkdir(parents=True, exist_ok=True)
    shutil.copytree(
        EXTENSION, extensions / "exllama_guardrails", ignore=shutil.ignore_patterns("__pycache__")
    )
    (extensions / "lifecycle_probe").mkdir()
    shutil.copy(Path(__file__).with_name("lifecycle_probe.py"), extensions / "lifecycle_probe" / "script.py")
    page, api, probe, log = _free_port(), _free_port(), folder / "probe.json", folder / "log"
    command = [
        python, "server.py", "--cpu", "--loader", "Transformers", "--model-dir", str(MODEL.parent),
        "--model", MODEL.name, "--api", "--api-port", str(api), "--listen-port", str(page),
        "--extensions", "exllama_guardrails", "lifecycle_probe",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PYTHONPATH": str(SHARED / "webui-shim"),
        "LIFECYCLE_PROBE": str(probe),
        "OMP_NUM_THREADS": "2",
        "no_proxy": "127.0.0.1,localhost",
    }
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=host, env=environment, stdout=out, stderr=subprocess.STDOUT)
    server = Server(process, page, api, probe, log)
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
            process.wait(20)
        process.kill()
        process.wait()


@pytest.fixture(scope="module", params=_hosts())
def server(request, tmp_path_factory):
    checkout, python = request.param
    with _started(checkout, python, tmp_path_factory.mktemp("webui")) as started:
        yield started


def _warm(known, times):
    return known["state"] == "warm" or (
        known["state"] == "ready, but its speed did not settle"
        and sum(kind == "warm-up" for kind, _ in known["events"]) >= times
    )


def test_a_model_that_was_there_before_the_extension_is_warmed_up(server):
    known = server.wait_for(lambda known: _warm(known, 1) and known["canary"] is None and known["model"])
    assert known["runs"] >= 3
    assert known["own_cost_s"] <= 0.5  # generous: the machine is shared; tests/bench/lifecycle.py measures it
    known = server.wait_for(lambda known: known["model"]["model_hash"])
    assert len(known["model"]["shard_hash"]) == 64
    assert "Paris" in server.chat()
    known = server.wait_for(lambda known: known["tokens"] > 0 and known["turns"] == 1)
    assert known["problems"] == []
    print(
        f"\ncold {known['cold_ttft_s']:.3f} s, warm {known['warm_ttft_s']:.3f} s, {known['runs']} runs,"
        f" own cost {known['own_cost_s'] * 1000:.1f} ms"
    )


def test_an_unload_by_the_api_frees_the_model(server):
    server.ask("/v1/internal/model/unload", {})
    known = server.wait_for(lambda known: not known["loaded"] and known["state"] == "no model")
    known = server.wait_for(lambda known: not any(known["alive"]), limit_s=30)
    assert known["alive"] == [False]


def test_a_request_right_after_a_load_by_the_api_waits_and_is_answered_warm(server):
    server.ask("/v1/internal/model/load", {"model_name": MODEL.name})
    assert "Paris" in server.chat()
    known = server.wait_for(lambda known: known["canary"] is True)
    assert known["last_wait_s"] is not None
    assert sum(kind == "warm-up" for kind, _ in known["events"]) == 2
    print(f"\nthe request waited {known['last_wait_s']:.2f} s; own cost {known['own_cost_s'] * 1000:.1f} ms")


def test_a_load_that_fails_is_told_and_the_next_one_works(server):
    with contextlib.suppress(urllib.error.HTTPError):
        server.ask("/v1/internal/model/load", {"model_name": "no-such-model"})
    known = server.wait_for(lambda known: any("could not be loaded" in text for _, text in known["events"]))
    assert any("no-such-model" in text for text in known["problems"])
    server.ask("/v1/internal/model/load", {"model_name": MODEL.name})
    assert "Paris" in server.chat()
    known = server.wait_for(
        lambda known: not any("could not be loaded" in text for text in known["problems"])
    )
    assert known["alive"][-1]
    assert known["alive"].count(True) == 1


@pytest.mark.browser
def test_unload_and_reload_by_the_page_are_noticed(server):
    from playwright.sync_api import sync_playwright

    before = len(server.known()["alive"])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.page}", wait_until="domcontentloaded", timeout=120_000)
        page.get_by_role("tab", name="Model", exact=True).click(timeout=60_000)
        page.get_by_role("button", name="Unload", exact=True).click()
        server.wait_for(lambda known: not known["loaded"] and known["state"] == "no model")
        server.wait_for(lambda known: not any(known["alive"]), limit_s=30)
        page.get_by_role("button", name="Load", exact=True).click()
        server.wait_for(lambda known: known["loaded"] and _warm(known, 4))
        browser.close()
    assert len(server.known()["alive"]) == before + 1
