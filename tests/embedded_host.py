"""The embedded default as a program of its own, and its page in a real browser; for end-to-end tests."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from conftest import EXTENSION
from programs import end
from real_browser import browser_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

START_S = 300
REPLY_S = 240


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
            end(process)


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
def ready_page(url: str) -> Iterator[Page]:
    """The embedded default's page in a real browser, its model ready and its documents indexed."""
    with browser_page(url) as page:
        page.wait_for_selector(".dot.ready")
        page.wait_for_timeout(3000)  # the folder of nine pages is being indexed
        yield page


def ask(page: Page, question: str) -> str:
    """Sends a question in a new chat; the mark of what the panel had settled on before."""
    page.click("#new-chat")
    page.wait_for_timeout(500)
    before = settled_on(page)
    page.fill("#question textarea, #question input", question)
    page.click("#send")
    return before


def settled_on(page: Page) -> str:
    """The mark of what the panel has settled on; what `settle` needs to wait for something newer."""
    mark: str = page.evaluate("() => window.egGuard.state.settled")
    return mark


def settle(page: Page, before: str) -> None:
    """Waits until the panel has settled on a newer answer than `before`."""
    deadline = time.monotonic() + REPLY_S
    done = "(before) => !window.egGuard.state.live && window.egGuard.state.settled !== before"
    while not page.evaluate(done, before):
        assert time.monotonic() < deadline, f"not settled: {page.inner_text('#chat')}"
        page.wait_for_timeout(250)
