"""The embedded default as a new user meets it: real model, real documents, real browser."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from embedded_host import REPLY_S, ask, ready_page, served, settle, settled_on

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.model]

GLANCE = "#eg-root [data-slot=glance]"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("user_data")) as address:
        yield address


@pytest.fixture(scope="module")
def page(url: str) -> Iterator[Page]:
    with ready_page(url) as opened:
        opened.wait_for_selector(f"{GLANCE}[data-h]", state="attached")
        yield opened


def settled(page: Page, before: str) -> str:
    """The panel's line once the reply is settled."""
    settle(page, before)
    return page.inner_text(GLANCE)


def test_a_first_visit_names_the_documents_and_finds_the_panel_open_until_it_is_folded(page: Page) -> None:
    assert "kv_cache.md" in page.inner_text("#chat")
    assert page.get_attribute("[data-act=fold]", "aria-expanded") == "true"
    page.click("[data-act=fold]")
    page.reload()
    page.wait_for_selector(f"{GLANCE}[data-h]", state="attached")
    page.wait_for_timeout(500)
    assert page.get_attribute("[data-act=fold]", "aria-expanded") == "false"


def test_the_panel_stands_flush_with_the_chat_and_a_long_question_leaves_its_button_in_place(
    page: Page,
) -> None:
    def top(selector: str) -> float:
        box = page.locator(selector).first.bounding_box()
        assert box is not None, selector
        return box["y"]

    assert abs(top("#eg-root") - top("#chat .chat-scroll")) <= 1
    before = top("#send")
    page.fill("#question textarea, #question input", "A line\n" * 40)
    page.wait_for_timeout(300)
    assert abs(top("#send") - before) <= 1
    page.fill("#question textarea, #question input", "")


def test_a_distance_appears_while_the_reply_streams_and_a_verdict_when_it_ends(page: Page) -> None:
    before = ask(page, "Explain in several sentences what happens when a model is loaded, and why.")
    seen = []
    deadline = time.monotonic() + REPLY_S
    while time.monotonic() < deadline:
        line, live = page.evaluate(
            f"() => [document.querySelector('{GLANCE}').innerText, !!document.querySelector('.eg-live')]"
        )
        if live and re.search(r"ΔS\s*\d\.\d\d", line):
            seen.append(line)
            break
        page.wait_for_timeout(100)
    assert seen, "no ΔS was shown while the reply streamed"
    line = settled(page, before)
    assert re.search(r"\b(Pass|Review|Fail)\b", line)
    assert re.search(r"ΔS\s*\d\.\d\d", line)
    assert re.search(r"Support\s*\d\.\d\d", line)


def test_an_invented_number_is_not_passed_and_is_named(page: Page) -> None:
    line = settled(page, ask(page, "How many books does the Harbour Library have?"))
    answer = page.inner_text("#chat")
    number = re.search(r"has (\d[\d,]*)", answer)
    if number is None:
        pytest.skip(f"the model invented no number this time: {answer[-200:]}")
    assert re.search(r"\b(Review|Fail)\b", line)
    assert number.group(1) in line


def test_a_stopped_reply_is_scored_and_said_to_be_stopped(page: Page) -> None:
    before = ask(page, "Explain in several sentences what a canary is, with every detail of the documents.")
    asked = len(page.inner_text("#chat"))
    deadline = time.monotonic() + REPLY_S
    while len(page.inner_text("#chat")) < asked + 20:  # the reply has begun
        assert time.monotonic() < deadline, page.inner_text("#chat")
        page.wait_for_timeout(50)
    page.click("#stop")
    settled(page, before)
    if page.get_attribute("[data-act=fold]", "aria-expanded") == "false":
        page.click("[data-act=fold]")
    page.click("[data-tab=turn]")
    page.wait_for_timeout(1500)
    assert "stopped" in page.inner_text("#eg-root").lower()


def test_switched_off_nothing_is_measured_and_the_chat_answers(page: Page) -> None:
    before = settled_on(page)
    switch = page.locator("#eg-root [role=switch], #eg-root .eg-switch").first
    switch.click()
    page.wait_for_timeout(1500)
    ask(page, "Name a colour.")
    deadline = time.monotonic() + REPLY_S
    while not re.search(r"Name a colour\.\s*\S+", page.inner_text("#chat")):
        assert time.monotonic() < deadline, f"no answer: {page.inner_text('#chat')}"
        page.wait_for_timeout(250)
    page.wait_for_timeout(1500)
    assert "off" in page.inner_text(GLANCE).lower()
    assert settled_on(page) in (before, "")
    switch.click()


def test_a_request_under_another_name_is_refused(url: str) -> None:
    import http.client

    port = int(url.rsplit(":", 1)[1].strip("/"))
    for path, method in (
        ("/", "GET"),
        ("/config", "GET"),
        ("/v1/models", "GET"),
        ("/v1/chat/completions", "POST"),
    ):
        for headers, status in (
            ({"Host": "example.org"}, 403),
            ({"Host": f"127.0.0.1:{port}", "Origin": "https://example.org"}, 403),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            connection.request(method, path, headers=headers)
            assert connection.getresponse().status == status, (path, headers)
            connection.close()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", "/v1/models")
    assert connection.getresponse().status == 200
    connection.close()


def test_own_documents_are_named_and_no_example_asks_about_others(page: Page, tmp_path: Path) -> None:
    own, user_data = tmp_path / "own", tmp_path / "user_data"
    own.mkdir()
    user_data.mkdir()
    (own / "museum <1>.md").write_text("# Hours\nThe museum opens at 9.\n", encoding="utf-8")
    (own / "picture.png").write_bytes(b"")
    browser = page.context.browser
    assert browser is not None
    with served(user_data, f"exllama_guardrails-knowledge_folder: '{own}'\n") as address:
        fresh = browser.new_page()
        fresh.goto(address)
        fresh.wait_for_selector("#chat .welcome")
        assert "In own: museum <1>.md." in fresh.inner_text("#chat")
        assert fresh.locator("#examples button").count() == 0
        fresh.wait_for_selector(".dot.ready", timeout=REPLY_S * 1000)  # ready: the documents are read, too
        fresh.fill("#question textarea, #question input", "When does the museum open?")
        fresh.click("#send")
        deadline = time.monotonic() + REPLY_S
        while not re.search(r"\b(Pass|Review|Fail|Not measured)\b", line := fresh.inner_text(GLANCE)):
            assert time.monotonic() < deadline, line
            fresh.wait_for_timeout(200)
        assert "Nothing was retrieved" not in line
        fresh.close()
