"""The panel over a scripted monitor, in a process of its own, and what is done on its page.

`GUARDRAILS_GRADIO4_PYTHON` names a python with gradio 4.37.2; without it a test on that version is skipped.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import SHARED
from programs import end

if TYPE_CHECKING:
    from playwright.sync_api import Page

DEMO = Path(__file__).parents[1] / "panel" / "demo.py"
SHIM = SHARED / "webui-shim"
WAIT_MS = 120_000  # ends a test that hangs; a busy machine may take long


class Served:
    """A page of the demo in a process of its own, driven by lines on its standard input."""

    def __init__(self, python: str, folder: Path, logins: str = "") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        env = os.environ | {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
        if python != sys.executable:
            env["PYTHONPATH"] = str(SHIM)
        self.process = subprocess.Popen(
            [python, str(DEMO), str(self.port), str(folder), *([logins] if logins else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        self.url = f"http://127.0.0.1:{self.port}/"
        try:
            self.await_line("ready")
        except BaseException:
            end(self.process)
            raise

    def send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def await_line(self, wanted: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == wanted:
                return
        pytest.fail(f"the demo page ended before it said '{wanted}'")

    def run(self, line: str) -> None:
        self.send(line)
        self.await_line("done")

    def close(self) -> None:
        self.send("quit")
        end(self.process)


def python_of(version: str) -> str:
    if version == "installed":
        return sys.executable
    python = os.environ.get("GUARDRAILS_GRADIO4_PYTHON", "")
    if not python:
        pytest.skip("no python with gradio 4.37.2: name one in GUARDRAILS_GRADIO4_PYTHON")
    if not SHIM.is_dir():
        pytest.skip(f"no {SHIM}: gradio 4.37.2 needs it beside a current huggingface_hub")
    return python


def open_panel(page: Page, served: Served) -> None:
    page.goto(served.url)
    page.wait_for_function("() => document.querySelector('[data-slot=glance]')?.dataset.h", timeout=WAIT_MS)


def wake(page: Page) -> None:
    page.evaluate("() => window.egGuard.wake()")


def open_details(page: Page, tab: str = "turn") -> None:
    if page.get_attribute("[data-act=fold]", "aria-expanded") == "false":
        page.click("[data-act=fold]")
    page.click(f"[data-tab={tab}]")


def until(page: Page, condition: str, within_ms: int = WAIT_MS) -> None:
    """Asks again and again: a page that redraws all the time never lets a waiting promise through."""
    waited = 0
    while not page.evaluate(condition):
        assert waited < within_ms, f"{condition} did not come true within {within_ms} ms"
        page.wait_for_timeout(100)
        waited += 100
