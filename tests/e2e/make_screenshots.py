"""Makes the pictures in screenshots/ from real runs: `python tests/e2e/make_screenshots.py [NAME ...]`.

Without names all are made. The embedded default is started, asked questions, and photographed in light and
dark and at 390 px. `webui` photographs a real WebUI that is running already: name its address in
GUARDRAILS_WEBUI_URL and its version in GUARDRAILS_WEBUI_VERSION.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "screenshots"
START_S = 240
REPLY_MS = 180_000
SETTLED = "(before) => !window.egGuard.state.live && window.egGuard.state.settled !== before"
RIGHT = "After how many tokens is the KV cache rotated by default?"
WRONG = "How many words does a snippet have?"
QUESTION = "How wide is the safe zone of the distance, and what does bleed measure?"


def main(names: list[str]) -> int:
    """Exit status; 0 when every picture that was asked for is made."""
    from playwright.sync_api import sync_playwright

    chromium = next(
        (path for name in ("chromium", "google-chrome", "chromium-browser") if (path := shutil.which(name))),
        "",
    )
    if not chromium:
        print("No chromium or Chrome on this machine: apt-get install chromium")
        return 1
    OUT.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        if not names or "embedded" in names:
            _embedded(browser)
        url = os.environ.get("GUARDRAILS_WEBUI_URL", "")
        if url:
            _webui(browser, url, os.environ.get("GUARDRAILS_WEBUI_VERSION", "webui"))
        elif "webui" in names:
            print("Name the address of a running WebUI in GUARDRAILS_WEBUI_URL.")
            return 1
        browser.close()
    return 0


def _embedded(browser: Browser) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, str(ROOT / "extensions" / "exllama_guardrails"), "--port", str(port)),
            *("--no-browser", "--user-data-dir", folder),
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}/"
            _await_page(url, process)
            page = browser.new_page(viewport={"width": 1360, "height": 900}, device_scale_factor=2)
            page.goto(url)
            page.wait_for_selector("#eg-root", timeout=60_000)
            page.wait_for_selector(".dot.ready", timeout=REPLY_MS)
            _pictures_of_the_embedded_default(page)
        finally:
            process.terminate()
            process.wait(20)


def _await_page(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"The embedded default ended with {process.returncode} before it served {url}")
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own page on this machine
                return
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"The embedded default did not serve {url} within {START_S} s")


def _pictures_of_the_embedded_default(page: Page) -> None:
    _settle(page, _ask(page, RIGHT))
    _both_themes(page, "overview")
    before = _ask(page, QUESTION)
    page.click("[data-act=fold]")
    page.wait_for_selector(".eg-live", timeout=REPLY_MS)
    page.wait_for_timeout(1500)
    _shoot(page, "live-light")
    _settle(page, before)
    _settle(page, _ask(page, WRONG))
    _both_themes(page, "answer")
    for tab in ("time", "history", "check", "settings", "model"):
        page.click(f"[data-tab={tab}]")
        if tab == "check":
            _check(page)
        page.wait_for_timeout(800)
        _both_themes(page, tab)
    page.set_viewport_size({"width": 390, "height": 844})
    page.click("[data-tab=turn]")
    page.wait_for_timeout(800)
    page.evaluate("() => document.getElementById('eg-root').scrollIntoView()")
    _both_themes(page, "narrow")


def _ask(page: Page, question: str) -> str:
    """Sends a question; gives what the panel had settled on before."""
    before: str = page.evaluate("() => window.egGuard.state.settled")
    page.fill("#question textarea, #question input", question)
    page.click("#send")
    return before


def _settle(page: Page, before: str) -> None:
    deadline = time.monotonic() + REPLY_MS / 1000
    while not page.evaluate(SETTLED, before):
        if time.monotonic() > deadline:
            raise SystemExit(f"No reply was checked within {REPLY_MS // 1000} s")
        page.wait_for_timeout(500)
    page.wait_for_timeout(1200)


def _check(page: Page) -> None:
    page.fill("[name=question]", "How long is the bridge?")
    page.fill(
        "[name=snippets]", "The bridge was opened in 1932. It is 1,149 metres long and carries eight lanes."
    )
    page.fill("[name=answer]", "The bridge was opened in 1932. It is 1,419 metres long.")
    page.click("[data-form=check] button[type=submit]")
    page.wait_for_selector("[data-slot=checked] .eg-badge", timeout=60_000)


def _webui(browser: Browser, url: str, version: str) -> None:
    page = browser.new_page(viewport={"width": 1360, "height": 900}, device_scale_factor=2)
    page.goto(url)
    page.wait_for_selector("#eg-root", timeout=60_000)
    page.wait_for_timeout(3000)
    page.fill("#chat-input textarea", "Name three primary colours.")
    page.keyboard.press("Enter")
    page.wait_for_function("() => window.egGuard.state.settled", timeout=REPLY_MS)
    page.wait_for_timeout(1500)
    page.locator("#eg-root").scroll_into_view_if_needed()
    _both_themes(page, f"webui-{version}")


def _both_themes(page: Page, name: str) -> None:
    was_dark = page.evaluate("() => document.body.classList.contains('dark')")
    for theme in ("light", "dark"):
        page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", theme == "dark")
        page.wait_for_timeout(250)
        _shoot(page, f"{name}-{theme}")
    page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", was_dark)


def _shoot(page: Page, name: str) -> None:
    page.screenshot(timeout=90_000, path=OUT / f"{name}.png")
    print(f"screenshots/{name}.png", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
