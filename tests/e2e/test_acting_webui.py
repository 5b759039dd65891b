"""Show, annotate, repair and refuse in the real WebUI: on its page, in a real browser, and over its API.

The host runs with --verbose, so that its own log has every prompt that the model got. Greedy and at most 48
tokens: what a model of this size says to these messages is then the same each time.
"""

from __future__ import annotations

import urllib.error

import pytest
from e2e.acting_page import MARK, REFUSED, choose, next_trace, traces, turn_page
from e2e.real_webui import copied, hosts
from e2e.webui_page import CHAT, opened, our_errors, press, send, settled, until
from embedded_host import settled_on

pytestmark = pytest.mark.webui

BLOCK = """<<<GUARDRAIL_SNIPPETS
[s1] source="notes.md"
{}
GUARDRAIL_SNIPPETS>>>

{}"""
ASKED = "When does the ferry to Tollan leave, and who is its captain?"  # the captain is in no document
STRAYS = BLOCK.format("The ferry to Tollan leaves at nine.", ASKED)
WORSE = BLOCK.format(
    "A canary that takes more than 120 seconds is reported as a hang.", "How many birds live in the harbour?"
)
AGAIN = "from these passages only"  # in the message of a new try
PROMPT = "PROMPT="
REPORTS = "/v1/internal/guardrails/turns"
KEY = "a key of this test"
SETTINGS = (
    "exllama_guardrails-act_wait_ms: 20000\nexllama_guardrails-repair_limit_s: 200\n"
    "exllama_guardrails-warmup: false\nexllama_guardrails-api_report: true\n"
)


@pytest.fixture(scope="module", params=hosts())
def page(request, tmp_path_factory):
    copy = copied(*request.param, tmp_path_factory.mktemp("webui"))
    with opened(copy, "--verbose", "--api-key", KEY, settings=SETTINGS) as page:
        page.folder = copy.user_data
        yield page
        assert our_errors(page) == []
        assert "Traceback" not in page.server.log.read_text("utf-8")


def new_chat(page):
    page.click("button:has-text('New chat') >> visible=true >> nth=0")
    until(page, CHAT, lambda chat: "Tollan" not in chat and "harbour" not in chat, 20)


def asked(page, text, **modes):
    """The trace of the answer to `text` in a new chat under these settings."""
    choose(page, **modes)
    new_chat(page)
    return answered(page, lambda: send(page, text))


def answered(page, start):
    """The trace of the answer that `start` asks for."""
    known = len(traces(page.folder))
    settled(page, start())
    until(page, "() => document.querySelector('#stop')?.checkVisibility() || false", lambda seen: not seen)
    page.wait_for_timeout(500)
    return next_trace(page.folder, known)


def again(page, button):
    """The trace of what `button` of the host, Regenerate or Continue, brings."""

    def start():
        before = settled_on(page)
        press(page, button)
        return before

    return answered(page, start)


def prompts(page):
    """What the model got, each prompt as the host printed it; the newest last."""
    return page.server.log.read_text("utf-8").split(PROMPT)[1:]


def beginning(text):
    """Enough of an answer to be found on the page, up to where Markdown would show it otherwise."""
    return text.strip().split("\n")[0][:40]


def test_by_default_an_answer_is_only_shown(page):
    trace = asked(page, STRAYS, on_fail="show", on_review="show")
    assert trace["acted"] is None
    chat = page.evaluate(CHAT)
    assert beginning(trace["answer"]) in chat
    assert MARK not in chat and REFUSED not in chat


def test_an_annotated_answer_has_one_line_that_enters_no_prompt_and_goes_with_a_regenerate(page):
    trace = asked(page, STRAYS, on_fail="annotate", on_review="annotate")
    assert trace["acted"]["done"] == "annotate"
    assert page.evaluate(CHAT).count(MARK) == 1
    answered(page, lambda: send(page, "And on Sundays?"))
    assert "And on Sundays?" in prompts(page)[-1]
    assert beginning(trace["answer"]) in prompts(page)[-1]
    assert "Guardrails" not in prompts(page)[-1]

    asked(page, STRAYS, on_fail="annotate", on_review="annotate")
    again(page, "Regenerate")
    assert page.evaluate(CHAT).count(MARK) == 1
    choose(page, on_fail="show", on_review="show")
    again(page, "Regenerate")
    assert MARK not in page.evaluate(CHAT)
    assert "Guardrails" not in prompts(page)[-1]


def test_a_repair_that_is_better_supported_takes_the_answers_place(page):
    count = len(prompts(page))
    trace = asked(page, STRAYS, on_fail="repair", on_review="repair")
    first, second = trace["acted"]["tries"]
    assert trace["acted"]["done"] == "repair"
    assert (first["kept"], second["kept"]) == (False, True)
    assert trace["answer"] == second["answer"] != first["answer"]
    assert beginning(second["answer"]) in page.evaluate(CHAT)
    assert first["answer"].strip() not in page.evaluate(CHAT)
    new = prompts(page)[count:]
    assert [AGAIN in prompt for prompt in new] == [False, True]
    shown = turn_page(page)
    assert beginning(first["answer"]) in shown and beginning(second["answer"]) in shown
    count = len(prompts(page))
    answered(page, lambda: send(page, "And on Sundays?"))
    follow_up = prompts(page)[count]
    assert beginning(second["answer"]) in follow_up and first["answer"].strip() not in follow_up
    assert AGAIN not in follow_up


def test_a_repair_that_is_no_better_leaves_the_first_answer(page):
    trace = asked(page, WORSE, on_fail="repair", on_review="repair")
    first, second = trace["acted"]["tries"]
    assert trace["acted"]["done"] == "show"
    assert (first["kept"], second["kept"]) == (True, False)
    assert trace["answer"] == first["answer"]
    assert first["answer"].strip() in page.evaluate(CHAT)
    assert "first answer stands" in turn_page(page).lower()


def test_stop_during_a_repair_leaves_the_first_answer(page):
    count = len(prompts(page))

    def start():
        before = send(page, STRAYS)
        until(page, "() => 0", lambda _: any(AGAIN in prompt for prompt in prompts(page)[count:]))
        press(page, "stop")
        return before

    choose(page, on_fail="repair", on_review="repair")
    new_chat(page)
    trace = answered(page, start)
    assert trace["acted"]["done"] == "show"
    assert "stopped" in trace["acted"]["why"]
    assert trace["finish"] == "complete"
    assert trace["acted"]["tries"][0]["kept"] is True
    assert trace["answer"].strip() in page.evaluate(CHAT)


def test_a_continued_answer_is_never_repaired(page):
    asked(page, STRAYS, on_fail="show", on_review="show")
    choose(page, on_fail="repair", on_review="repair")
    count = len(prompts(page))
    trace = again(page, "Continue")
    assert not any(AGAIN in prompt for prompt in prompts(page)[count:])
    assert trace["acted"]["tries"] == []
    assert "continues another" in trace["acted"]["why"]


def test_a_refused_answer_is_replaced_and_its_original_is_in_the_panel(page):
    trace = asked(page, STRAYS, on_fail="refuse", on_review="refuse")
    assert trace["acted"]["done"] == "refuse"
    chat = page.evaluate(CHAT)
    assert chat.count(REFUSED) == 1
    assert "The ferry to Tollan leaves at nine." in chat and "notes.md" in chat
    turn_page(page)
    assert not page.is_visible("#eg-root .eg-split")
    page.click("#eg-root [data-act=reveal]")
    original = " ".join(page.inner_text("#eg-root .eg-split").split())
    assert all(claim["text"].strip() in original for claim in trace["support"]["claims"])


# --- over the API ---------------------------------------------------------------------------------------


def said(page, kind, streamed):
    """The texts that an API client gets one after the other, and the reports that came with them."""
    body = {"max_tokens": 48, "temperature": 0, "top_k": 1, "stream": streamed}
    if kind == "completions":
        body["prompt"] = f"<|im_start|>user\n{STRAYS}<|im_end|>\n<|im_start|>assistant\n"
    else:
        body["messages"] = [{"role": "user", "content": STRAYS}]
    path = "/v1/chat/completions" if kind == "chat" else f"/v1/{kind}"
    try:
        ask = page.server.stream if streamed else lambda *what: [page.server.ask(*what)]
        events = ask(path, {**body, "model": "loaded"})
    except urllib.error.HTTPError as error:
        if error.code == 404:
            pytest.skip(f"this host has no {path}")
        raise
    texts = [text_of(event) for event in events]
    return [text for text in texts if text], [e["guardrails"] for e in events if "guardrails" in e]


def text_of(event):
    """The answer's text in one event of any of the three ways."""
    if event.get("choices"):
        choice = event["choices"][0]
        part = choice.get("message") or choice.get("delta") or choice
        return part.get("content") or part.get("text") or ""
    parts = event.get("content") or [event.get("delta") or {}]
    return "".join(part.get("text", "") for part in parts)


@pytest.fixture(params=["chat", "messages", "completions"])
def kind(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def streamed(request):
    return request.param


def test_an_api_client_gets_the_line_as_its_answers_last_paragraph(page, kind, streamed):
    choose(page, on_fail="annotate", on_review="annotate")
    texts, reports = said(page, kind, streamed)
    assert "".join(texts).split("\n\n")[-1].startswith(MARK)
    assert len(texts) > 1 or not streamed  # what the model writes is passed on as it comes
    carried = [report["action"]["done"] for report in reports]
    assert carried == ([] if kind == "messages" else ["annotate"])


def test_an_api_client_gets_a_refusal_and_nothing_of_the_answer_before_it(page, kind, streamed):
    choose(page, on_fail="refuse", on_review="refuse")
    texts, _ = said(page, kind, streamed)
    assert texts[0].strip().startswith(REFUSED[:20])
    assert "".join(texts).strip().startswith(REFUSED)


def test_an_api_client_gets_the_better_supported_try_alone(page, kind, streamed):
    choose(page, on_fail="repair", on_review="repair")
    count = len(prompts(page))
    texts, _ = said(page, kind, streamed)
    assert AGAIN in prompts(page)[-1] and len(prompts(page)) == count + 2
    (turn,) = page.server.ask(REPORTS)["turns"]
    assert turn["action"]["wanted"] == "repair"
    statements = [one["text"] for one in turn["statements"]]
    assert statements and all(" ".join(one.split()) in " ".join("".join(texts).split()) for one in statements)


@pytest.mark.parametrize(
    ("headers", "code"),
    [({"Authorization": "Bearer another"}, 401), ({"Origin": "http://example.org"}, 403)],
)
def test_reports_are_given_to_programs_of_this_machine_that_know_the_key(page, headers, code):
    with pytest.raises(urllib.error.HTTPError) as refused:
        page.server.ask(REPORTS, **headers)
    assert refused.value.code == code
    assert page.server.ask(f"{REPORTS}?last=2")["turns"]
