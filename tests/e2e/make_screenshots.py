"""Makes the pictures in screenshots/ from real runs: `python tests/e2e/make_screenshots.py [NAME ...]`.

Without names all are made: the embedded default is started, asked questions, and photographed in light and
dark and at 390 px. GUARDRAILS_EMBEDDED_URL names one that runs already. With TEXTGEN_WEBUI_DIR set, a running
WebUI is photographed too: its address is GUARDRAILS_WEBUI_URL, its version GUARDRAILS_WEBUI_VERSION.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "screenshots"
DOCUMENTS = ROOT / "extensions" / "exllama_guardrails" / "docs_example"
INDEX_MS = 12_000  # a handful of short documents
START_S = 240
REPLY_S = 240
SIZE = {"width": 1360, "height": 850}
SCALE = 1.5
COLOURS = 192  # of a picture's palette: a page of text needs no more, and a third of the bytes

RIGHT = "After how many tokens is the KV cache rotated by default?"
MADE_UP = "How many books does the Harbour Library have?"  # no document says; the model makes it up
UNRELATED = "What is the capital of France?"
TALKATIVE = "Explain in several sentences what happens when a model is loaded, and why."
SET_UP = "When was the Harbour Library's assistant set up?"
LONG = "How wide is the safe zone of the distance, and what does bleed measure?"
SCHEMA = '{\n  "type": "object",\n  "properties": {"city": {"type": "string"}},\n  "required": ["city"]\n}'


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
    webui = os.environ.get("GUARDRAILS_WEBUI_URL", "") if os.environ.get("TEXTGEN_WEBUI_DIR") else ""
    if "webui" in names and not webui:
        print("Set TEXTGEN_WEBUI_DIR, and name the running WebUI's address in GUARDRAILS_WEBUI_URL.")
        return 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        chosen = [name for name in PICTURES if not names or name in names]
        if chosen:
            with _embedded() as url:
                for name in chosen:
                    page = _open(browser, url)
                    page.wait_for_selector(".dot.ready", timeout=START_S * 1000)
                    PICTURES[name](page)
                    page.close()
        if webui:
            _webui(browser, webui, os.environ.get("GUARDRAILS_WEBUI_VERSION", "webui"))
        browser.close()
    return 0


@contextmanager
def _embedded() -> Iterator[str]:
    """The address of the embedded default: the one that runs already, else one started for the pictures."""
    running = os.environ.get("GUARDRAILS_EMBEDDED_URL", "")
    if running:
        yield running
        return
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
            yield url
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


def _open(browser: Browser, url: str) -> Page:
    page = browser.new_page(viewport=SIZE, device_scale_factor=SCALE)
    page.set_default_timeout(START_S * 1000)
    page.goto(url)
    page.wait_for_selector("#eg-root [data-slot=glance][data-h]", state="attached")
    return page


# --- the embedded default --------------------------------------------------------------------------------


def _overview(page: Page) -> None:
    _answered(page, MADE_UP)
    _details(page, "turn")
    _both_themes(page, "overview")


def _live(page: Page) -> None:
    _details(page, "turn")
    _ask(page, TALKATIVE)
    _until(
        page,
        "() => document.querySelector('.eg-live') && document.querySelector("
        "'[data-list=\"t.answer\"] :is(.eg-pass, .eg-review, .eg-fail)')",
        pause_ms=100,
    )
    _shoot(page, "live-light")
    _until(page, "() => !document.querySelector('.eg-live')")


def _failed(page: Page) -> None:
    _answered(page, UNRELATED)
    _details(page, "turn")
    _shoot_panel(page, "failed-light", 640)


def _over_time(page: Page) -> None:
    for question in (RIGHT, MADE_UP, UNRELATED, LONG):
        _answered(page, question)
    _details(page, "time")
    _shoot_panel(page, "over-time-light", 1150)


def _check(page: Page) -> None:
    _details(page, "check")
    page.fill("[name=question]", "How long is the bridge?")
    page.fill(
        "[name=snippets]", "The bridge was opened in 1932. It is 1,149 metres long and carries eight lanes."
    )
    page.fill("[name=answer]", "The bridge was opened in 1932. It is 1,419 metres long.")
    page.click("[data-form=check] button[type=submit]")
    _until(page, "() => document.querySelector('[data-slot=checked] .eg-badge')")
    _shoot_panel(page, "check-a-text-light", 1325)


def _model(page: Page) -> None:
    _details(page, "model")
    _shoot_panel(page, "model-light", 1080)


def _tools(page: Page) -> None:
    _details(page, "tools")
    page.fill("[name=answer_schema]", SCHEMA)
    page.click("[data-form=schema] button[type=submit]")
    _until(page, "() => document.querySelector('[data-act=clear-schema]')")
    _shoot_panel(page, "tools-light")
    page.click("[data-act=clear-schema]")
    _until(page, "() => document.querySelector('[name=answer_schema]').value === ''")


def _narrow(page: Page) -> None:
    _answered(page, MADE_UP)
    page.set_viewport_size({"width": 390, "height": 844})
    _details(page, "turn")
    page.evaluate("() => document.getElementById('eg-root').scrollIntoView()")
    page.wait_for_timeout(1500)
    _shoot(page, "narrow-light")


PICTURES: dict[str, Callable[[Page], None]] = {
    "overview": _overview,
    "live": _live,
    "failed": _failed,
    "check": _check,
    "model": _model,
    "over-time": _over_time,
    "narrow": _narrow,
    "tools": _tools,
}


def _details(page: Page, tab: str) -> None:
    if page.get_attribute("[data-act=fold]", "aria-expanded") == "false":
        page.click("[data-act=fold]")
    page.click(f"[data-tab={tab}]")
    _until(page, "() => window.egGuard.state.same && !window.egGuard.state.asked")
    page.wait_for_timeout(1500)


def _ask(page: Page, question: str) -> str:
    """Sends a question in a chat of its own; gives what the panel had settled on before."""
    page.click("#new-chat")
    page.wait_for_timeout(500)
    before: str = page.evaluate("() => window.egGuard.state.settled")
    page.fill("#question textarea, #question input", question)
    page.click("#send")
    return before


def _answered(page: Page, question: str) -> None:
    before = _ask(page, question)
    _until(page, "(before) => !window.egGuard.state.live && window.egGuard.state.settled !== before", before)
    page.wait_for_timeout(1500)


def _until(page: Page, condition: str, value: object = None, *, pause_ms: int = 500) -> None:
    """Asks again and again: a page that redraws all the time never lets a waiting promise through."""
    deadline = time.monotonic() + REPLY_S
    while not page.evaluate(condition, value):
        if time.monotonic() > deadline:
            raise SystemExit(f"{condition} did not come true within {REPLY_S} s")
        page.wait_for_timeout(pause_ms)


# --- a real WebUI ----------------------------------------------------------------------------------------


def _webui(browser: Browser, url: str, version: str) -> None:
    """The page with a question that the example documents answer, and the panel below it."""
    page = _open(browser, url)
    page.set_viewport_size({"width": SIZE["width"], "height": 580})
    page.wait_for_timeout(3000)
    _details(page, "settings")
    page.fill("[name=knowledge_folder]", str(DOCUMENTS))
    page.click("[data-form=settings] button[type=submit]")
    page.wait_for_timeout(INDEX_MS)
    page.click("[data-tab=turn]")
    page.click("[data-act=fold]")
    before = page.evaluate("() => window.egGuard.state.settled")
    page.fill("#chat-input textarea", SET_UP)
    page.keyboard.press("Enter")
    _until(page, "(before) => !window.egGuard.state.live && window.egGuard.state.settled !== before", before)
    page.wait_for_timeout(1500)
    page.click("[data-act=fold]")
    page.wait_for_timeout(1500)
    page.evaluate("() => window.scrollTo(0, 0)")
    clip = {"x": 0, "y": 0, "width": SIZE["width"], "height": 1120}
    _keep(page.screenshot(timeout=90_000, full_page=True, clip=clip), f"webui-{version}")


# --- pictures --------------------------------------------------------------------------------------------


def _both_themes(page: Page, name: str) -> None:
    was_dark = page.evaluate("() => document.body.classList.contains('dark')")
    for theme in ("light", "dark"):
        page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", theme == "dark")
        page.wait_for_timeout(500)
        _shoot(page, f"{name}-{theme}")
    page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", was_dark)


def _shoot(page: Page, name: str) -> None:
    _keep(page.screenshot(timeout=90_000), name)


def _shoot_panel(page: Page, name: str, most: int = 1000) -> None:
    """The panel alone, from its top down to `most` pixels of the page."""
    page.mouse.move(0, 0)
    page.set_viewport_size({"width": SIZE["width"], "height": most + 400})
    page.evaluate("() => document.getElementById('eg-root').scrollIntoView()")
    page.wait_for_timeout(500)
    box = page.locator("#eg-root").bounding_box()
    assert box is not None
    _keep(page.screenshot(timeout=90_000, clip={**box, "height": min(box["height"], most)}), name)


def _keep(png: bytes, name: str) -> None:
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    path = OUT / f"{name}.png"
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(
        f"screenshots/{path.name} {picture.width}x{picture.height}, {path.stat().st_size // 1000} kB",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
