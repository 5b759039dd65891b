"""The real WebUI's own page in a real browser: opened, asked, waited for."""

from __future__ import annotations

import contextlib
import time

from e2e.real_webui import running
from embedded_host import settle, settled_on
from real_browser import browser_page

LIMIT_S = 150
STARTS = 3
LINE = "() => (document.querySelector('#eg-line [data-slot=glance]') || {innerText: ''}).innerText"
CHAT = "() => document.querySelector('#chat').innerText"
# Script errors of the hosts' own pages on the stock Gradio that stands in for their fork.
THEIRS = ("hljs", "handleMorphdomUpdate", "404", "Failed to load resource", "manifest")


# Short and the same each time: at the page's own temperature a small model babbles for a minute.
SHORT = "temperature: 0.01\ntop_k: 1\nauto_max_new_tokens: false\nmax_new_tokens: 48\n"


@contextlib.contextmanager
def opened(copy, *flags, settings=""):
    """The page of the copy; `page.server` is the host, `page.errors` what its scripts raised."""
    (copy.user_data / "settings.yaml").write_text(SHORT + settings, encoding="utf-8")
    with contextlib.ExitStack() as stack:
        for _ in range(STARTS):
            server = stack.enter_context(running(copy, "--cpu", *flags))
            if server.has_page():
                break
            stack.close()
        else:
            raise AssertionError(f"no page after {STARTS} starts: {server.log.read_text()[-3000:]}")
        page = stack.enter_context(browser_page("about:blank"))
        page.server, page.errors = server, []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda line: page.errors.append(line.text) if line.type == "error" else None)
        for _ in range(STARTS):  # a page that is asked for while a busy host still starts may stay empty
            page.goto(f"http://127.0.0.1:{server.page}", timeout=60_000)
            with contextlib.suppress(AssertionError):
                until(page, LINE, lambda line: line and "Connecting" not in line, 30)
                break
        assert page.is_visible("#eg-line [data-slot=glance]")
        yield page


def our_errors(page):
    """What scripts of the page raised, without what the host's own page raises there."""
    return [error for error in page.errors if not any(name in error for name in THEIRS)]


def until(page, expression, wanted, limit_s=LIMIT_S):
    """The value of a script's expression once `wanted` holds for it."""
    ends_s = time.monotonic() + limit_s
    while True:
        value = page.evaluate(expression)
        if wanted(value):
            return value
        assert time.monotonic() < ends_s, f"not seen within {limit_s} s, last: {value!r}"
        page.wait_for_timeout(100)


def send(page, text):
    """Sends a message; gives what `settled` needs to wait for its answer."""
    before = settled_on(page)
    page.fill("#chat-input textarea", text)
    page.press("#chat-input textarea", "Enter")
    until(page, "() => window.egGuard.state.live", bool)
    return before


def settled(page, before):
    """Waits until a newer answer than `before` is settled in the panel; gives the line under the input."""
    settle(page, before)
    return page.evaluate(LINE)


def press(page, button):
    """Presses a button of the host that may be folded into its menu."""
    page.evaluate("id => document.getElementById(id)?.click()", button)
