"""The embedded default as a program of its own, and a real browser that looks at it; for end-to-end tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import EXTENSION

START_S = 300
BROWSERS = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser", "chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@contextmanager
def served(folder: Path, settings: str = "") -> Iterator[str]:
    """Its address while it runs, with `settings` as its settings.yaml."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "settings.yaml").write_text(settings, encoding="utf-8")
    url = f"http://127.0.0.1:{port}/"
    with (folder / "log.txt").open("w+") as log:
        command = [sys.executable, str(EXTENSION), "--port", str(port), "--no-browser"]
        process = subprocess.Popen([*command, "--user-data-dir", str(folder)], stdout=log, stderr=log)
        try:
            _wait(process, url, folder / "log.txt")
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _wait(process: subprocess.Popen, url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        assert process.poll() is None, log.read_text("utf-8")[-3000:]
        assert time.monotonic() < deadline, f"no page at {url} within {START_S} s"
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - our own address
        except OSError:
            time.sleep(0.5)
        else:
            return


@contextmanager
def browser_page(url: str) -> Iterator:
    """A page of a real browser at `url`; skips where there is no browser."""
    executable = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if executable is None:
        pytest.skip("no chromium or Chrome on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(START_S * 1000)
        page.goto(url)
        yield page
        browser.close()
