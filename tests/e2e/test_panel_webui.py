"""The panel in the real WebUI's own page, in a real browser. How to name the hosts: real_webui.py."""

from __future__ import annotations

import pytest
from e2e.real_webui import copied, hosts
from e2e.webui_page import CHAT, LINE, opened, our_errors, send, settled, until

pytestmark = pytest.mark.webui

ASKED = """<<<GUARDRAIL_SNIPPETS
[s1] source="fence.md"
A canary that takes more than 120 seconds is reported as a hang.
GUARDRAIL_SNIPPETS>>>

After how many seconds is a canary reported as a hang?"""


@pytest.fixture(scope="module", params=hosts())
def page(request, tmp_path_factory):
    with opened(copied(*request.param, tmp_path_factory.mktemp("webui"))) as page:
        yield page


def test_the_line_under_the_input_tells_of_the_answer(page):
    line = settled(page, send(page, ASKED))
    assert line.startswith(("Pass", "Review", "Fail"))
    assert "ΔS" in line
    assert our_errors(page) == []


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
    until(page, CHAT, lambda chat: "do not compute" in chat, 60)
    assert our_errors(page) == []
