"""The panel in the real WebUI's own page, in a real browser. How to name the hosts: real_webui.py."""

from __future__ import annotations

import shutil
import time

import pytest
from e2e.real_webui import copied, hosts, running

pytestmark = pytest.mark.webui

ASKED = """<<<GUARDRAIL_SNIPPETS
[s1] source="fence.md"
A canary that takes more than 120 seconds is reported as a hang.
GUARDRAIL_SNIPPETS>>>

After how many seconds is a canary reported as a hang?"""
LIMIT_S = 150
# Script errors of the hosts' own pages on the stock Gradio that stands in for their fork.
THEIRS = ("hljs", "handleMorphdomUpdate", "404", "Failed to load resource", "manifest")
LINE = "() => (document.querySelector('#eg-line [data-slot=glance]') || {innerText: ''}).innerText"


def until(page, expression, wanted, limit_s=LIMIT_S):
    """The value of a script's expression once `wanted` holds for it."""
    ends_s = time.monotonic() + limit_s
    while True:
        value = page.evaluate(expression)
        if wanted(value):
            return value
        assert time.monotonic() < ends_s, f"not seen within {limit_s} s, last: {value!r}"
        page.wait_for_timeout(200)


@pytest.fixture(scope="module", params=hosts())
def page(request, tmp_path_factory):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
    if chromium is None:
        pytest.skip("no chromium or Chrome on this machine")
    copy = copied(*request.param, tmp_path_factory.mktemp("webui"))
    with running(copy, "--cpu") as server, playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": 1400, "height": 800})
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda line: page.errors.append(line.text) if line.type == "error" else None)
        page.goto(f"http://127.0.0.1:{server.page}", timeout=60_000)
        page.wait_for_selector("#eg-line [data-slot=glance]", timeout=60_000)
        yield page
        browser.close()


def ask(page, text):
    """Sends a message, presses Stop after some seconds; the line once the answer is settled."""
    before = page.evaluate("() => window.egGuard.state.settled")
    page.fill("#chat-input textarea", text)
    page.press("#chat-input textarea", "Enter")
    until(page, "() => window.egGuard.state.live", bool)
    page.wait_for_timeout(12_000)
    page.evaluate("() => document.querySelector('#stop')?.click()")
    state = "() => [window.egGuard.state.live, window.egGuard.state.settled]"
    until(page, state, lambda now: not now[0] and now[1] != before)
    return page.evaluate(LINE)


def test_the_line_under_the_input_tells_of_the_answer(page):
    line = ask(page, ASKED)
    assert line.startswith(("Pass", "Review", "Fail"))
    assert "ΔS" in line
    assert not [error for error in page.errors if not any(name in error for name in THEIRS)]


def test_the_switch_in_the_panel_is_obeyed_and_said(page):
    page.evaluate("() => document.querySelector('#eg-root [role=switch]').click()")
    until(page, LINE, lambda line: line.startswith("Off"), 20)
    page.evaluate("() => document.querySelector('#eg-root [role=switch]').click()")
    until(page, LINE, lambda line: not line.startswith("Off"), 20)


def test_the_diagnostic_prompt_is_sent_into_the_chat(page):
    page.click("#eg-line [data-act=peek]")
    page.click("#eg-root [data-tab=doctor]")
    page.wait_for_selector("#eg-root [data-act=send-prompt]:not([disabled])", timeout=30_000)
    page.click("#eg-root [data-act=send-prompt]")
    until(page, "() => document.querySelector('#chat').innerText", lambda chat: "do not compute" in chat, 60)
    assert not [error for error in page.errors if not any(name in error for name in THEIRS)]
