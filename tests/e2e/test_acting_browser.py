"""Annotate, refuse and repair as a reader of the embedded default sees them, in a real browser."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from e2e.acting_page import MARK, REFUSED, choose, traces
from embedded_host import REPLY_S, ask, ready_page, served, settle, settled_on

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.model]

QUESTION = "How many books does the Harbour Library own?"  # the documents do not say; the model invents
LONG = "What are the four zones?"  # a list, which the model gets wrong, and a long new try
# One processor runs the model, the page and the check here: a verdict takes longer than on a GPU's host.
SETTINGS = "exllama_guardrails-act_wait_ms: 20000\nexllama_guardrails-repair_limit_s: 200\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("user_data")


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with served(folder, SETTINGS) as address:
        yield address


@pytest.fixture(scope="module")
def page(url: str) -> Iterator[Page]:
    with ready_page(url) as opened:
        yield opened


def asked(page: Page, question: str = QUESTION) -> str:
    """The chat's text once the reply to `question`, in a new chat, is settled."""
    return settled(page, ask(page, question))


def settled(page: Page, before: str) -> str:
    settle(page, before)
    page.wait_for_timeout(1500)
    return str(page.inner_text("#chat"))


def test_an_annotated_answer_has_its_line_and_loses_it_with_a_regenerate(page: Page) -> None:
    choose(page, on_fail="annotate", on_review="annotate")
    chat = asked(page)
    assert chat.count(MARK) == 1, chat
    assert "in your documents" in chat.split(MARK)[1] or "question" in chat.split(MARK)[1]
    choose(page, on_fail="show", on_review="show")
    before = settled_on(page)
    page.click("#regenerate")
    assert MARK not in settled(page, before)


def test_a_refused_answer_is_replaced_by_what_is_missing_and_the_nearest_passages(page: Page) -> None:
    choose(page, on_fail="refuse", on_review="refuse")
    chat = asked(page)
    assert REFUSED in chat
    assert "harbour_library.md" in chat
    assert MARK not in chat


def test_a_repair_ends_with_an_answer_and_keeps_both_tries(page: Page, folder: Path) -> None:
    choose(page, on_fail="repair", on_review="repair")
    chat = asked(page)
    assert MARK not in chat and REFUSED not in chat
    assert len(chat.replace(QUESTION, "").strip()) > 3
    record = traces(folder)[-1]
    first, second = record["acted"]["tries"]
    assert first["answer"].strip() and second["answer"].strip()
    assert [first["kept"], second["kept"]].count(True) == 1
    kept = first if first["kept"] else second
    assert record["answer"] == kept["answer"]
    assert "first answer" in record["acted"]["why"].lower()
    assert kept["answer"].split(".")[0].split("\n")[0][:40] in chat


def test_stop_during_a_repair_leaves_the_first_answer(page: Page, folder: Path) -> None:
    choose(page, on_fail="repair", on_review="repair")
    page.click("#new-chat")
    page.wait_for_timeout(500)
    before = settled_on(page)
    page.fill("#question textarea, #question input", LONG)
    page.click("#send")
    longest, deadline = "", time.monotonic() + REPLY_S
    while time.monotonic() < deadline:
        _, asked_it, said = page.inner_text("#chat").partition(LONG)
        text = said.strip() if asked_it else ""
        if longest and text and not text.startswith(longest[:10]) and len(text) < len(longest):
            break  # the new try has begun to stream in the answer's place
        if page.evaluate("(b) => !window.egGuard.state.live && window.egGuard.state.settled !== b", before):
            pytest.skip("the repair was too quick to be seen")
        longest = max(longest, text, key=len)
        page.wait_for_timeout(50)
    page.click("#stop")
    chat = settled(page, before)
    assert longest[:40] in chat
    acted = traces(folder)[-1]["acted"]
    assert acted["done"] == "show"
    assert "stopped" in acted["why"]


def test_the_api_answers_under_the_same_settings(url: str, page: Page) -> None:
    choose(page, on_fail="refuse", on_review="refuse")
    body = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 60}
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{url}v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=REPLY_S) as response:  # noqa: S310 - the same
        answer = json.load(response)["choices"][0]["message"]["content"]
    assert REFUSED in answer
    with urllib.request.urlopen(f"{url}v1/internal/guardrails/turns", timeout=30) as response:  # noqa: S310
        (turn,) = json.load(response)["turns"]
    assert turn["action"]["done"] == "refuse"
    assert turn["verdict"] in ("FAIL", "REVIEW")
