"""The panel in a real browser, on the Gradio that is installed and on the host's Gradio 4.37.2.

`GUARDRAILS_GRADIO4_PYTHON` names a python with gradio 4.37.2; without it the tests on that are skipped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import EXTENSION
from e2e.panel_page import WAIT_MS, Served, open_details, open_panel, python_of, until, wake

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def test_a_tab_that_is_clicked_while_an_answer_is_on_its_way_fills(page: Page, served: Served) -> None:
    open_panel(page, served)
    open_details(page)
    until(page, "() => window.egGuard.state.same && !window.egGuard.state.asked")
    page.evaluate(
        """() => {
            const guard = window.egGuard;
            guard.message();
            guard.state.asked = Date.now();
            document.querySelector('[data-tab=settings]').click();
            guard.take(JSON.stringify({ v: guard.state.v, live: false, on: true }));
        }"""
    )
    page.wait_for_selector("form[data-form=settings] select[name=on_fail]", timeout=WAIT_MS)


def test_the_one_line_sits_in_the_chat_and_nothing_moves_while_a_reply_streams(served, page):
    place = """() => { const at = (s) => { const b = document.querySelector(s).getBoundingClientRect();
        return [Math.round(b.top), Math.round(b.height)].join(); };
        return [at('#chat-input-row'), at('#eg-line'), at('#eg-root .eg-bar'),
            document.querySelector('#eg-line .eg-track').getBoundingClientRect().left].join(' '); }"""
    assert page.evaluate("() => document.querySelector('#eg-line').parentElement.id") == "chat-col"
    served.send("stream 99")
    wake(page)
    until(page, "() => !!document.querySelector('#eg-line .eg-live')")
    seen, texts = set(), set()
    while page.query_selector("#eg-line .eg-live"):
        seen.add(page.evaluate(place))
        texts.add(page.inner_text("#eg-line"))
        page.wait_for_timeout(60)
    served.await_line("done")
    until(page, "() => document.querySelector('#eg-line').innerText.includes('Fail')")
    seen.add(page.evaluate(place))
    assert len(seen) == 1, seen
    assert len(texts) >= 2, texts
    page.click("#eg-line [data-act=peek]")
    until(page, "() => document.activeElement.dataset.tab === 'turn'")
    assert page.is_visible("#eg-panel-turn")


def test_every_word_of_a_verdict_has_room_so_that_the_next_one_moves_nothing(served, page):
    """Which words a reply passes through depends on how fast the machine is."""
    served.run("run 98 bad")
    wake(page)
    until(page, "() => document.querySelector('#eg-line').innerText.includes('Fail')")
    room, *needed = page.evaluate(
        """() => {
            const place = document.querySelector('#eg-line .eg-verdict');
            const width = (word, live) => {
                const one = place.cloneNode(true);
                one.style.minWidth = '0';
                one.querySelector('.eg-badge').lastChild.textContent = word;
                if (live) one.append(Object.assign(document.createElement('span'), { className: 'eg-live' }));
                place.parentElement.append(one);
                const found = one.getBoundingClientRect().width;
                one.remove();
                return found;
            };
            return [place.getBoundingClientRect().width, width('Measuring', true), width('Pass', true),
                width('Review', true), width('Fail', true), width('Not measured', false)];
        }"""
    )
    assert max(needed) <= room, needed


@pytest.mark.parametrize("width", [390, 360, 320])
def test_on_a_telephone_the_lines_parts_stand_beside_each_other(served, page, width):
    served.run("run 98 bad")
    wake(page)
    until(page, "() => document.querySelector('#eg-line').innerText.includes('Fail')")
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_timeout(300)
    zone, button = page.evaluate(
        "() => ['.eg-zone', '.eg-btn'].map((part) =>"
        " document.querySelector('#eg-line ' + part).getBoundingClientRect())"
        ".map((box) => [box.left, box.right])"
    )
    assert zone[1] <= button[0]


def test_a_long_chat_is_told_by_turn_and_a_line_of_it_opens_its_turn(served, page):
    for number in range(60, 70):
        served.run(f"run {number} {'bad' if number > 65 else 'good'}")
    open_details(page, "time")
    wake(page)
    until(page, "() => document.querySelectorAll('[data-slot=long] tbody tr').length >= 10")
    told = page.inner_text("[data-slot=long] .eg-lead")
    assert "E_resonance is" in told and "a turn (95 % interval" in told
    assert "snippets" in told.rpartition(".")[0]
    page.click("[data-slot=long] tbody tr:nth-child(10) .eg-link")
    until(page, "() => !document.querySelector('#eg-panel-turn').hidden")
    page.set_viewport_size({"width": 390, "height": 844})
    open_details(page, "time")
    wide = page.evaluate("() => document.querySelector('#eg-root').scrollWidth <= window.innerWidth")
    assert wide


def test_a_touch_shows_the_snippet_beside_a_sentence_on_a_narrow_screen(served, browser):
    served.run("run 98 bad")
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    open_panel(page, served)
    page.tap("#eg-root [data-act=fold]")
    until(page, "() => document.querySelectorAll('#eg-root .eg-answer .eg-s').length > 1")
    page.locator("[data-list='t.answer'] .eg-s").nth(1).tap()
    until(page, "() => document.querySelector('.eg-ev-claim').textContent.startsWith('A rotation')")
    until(
        page,
        "() => { const b = document.querySelector('.eg-evidence').getBoundingClientRect();"
        " return b.top < window.innerHeight && b.bottom > 0; }",
    )
    assert page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth") <= 0
    context.close()


def test_a_probe_shows_how_far_it_is_is_cancelled_and_shows_its_grid(served, page):
    served.run("run 97 bad")
    wake(page)
    open_details(page, "probes")
    until(page, "() => !!document.querySelector('[name=form_1]')")
    page.fill("[name=form_1]", "My own paraphrase?")
    served.run("run 96 good")  # a new answer does not draw over what is typed
    wake(page)
    page.wait_for_timeout(2500)
    assert page.input_value("[name=form_1]") == "My own paraphrase?"
    page.click("[data-form=probe] button[type=submit]")
    until(page, "() => !!document.querySelector('[data-slot=probe] [role=progressbar]')")
    page.click("[data-act=stop-probe]")
    until(page, "() => !!document.querySelector('[data-form=probe]')")
    page.click("[data-form=probe] button[type=submit]")
    until(page, "() => document.querySelectorAll('.eg-grid .eg-group').length === 6")


def test_the_diagnostic_prompt_is_copied_and_sent_into_the_chat(served, page):
    served.run("run 95 bad")
    wake(page)
    open_details(page, "doctor")
    until(page, "() => !!document.querySelector('[data-prompt]')")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("[data-act=copy-prompt]")
    until(page, "() => document.querySelector('[data-said]').textContent.startsWith('Copied')")
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert "4096" in copied
    page.click("[data-act=send-prompt]")
    until(page, "() => document.querySelector('#said').innerText.includes('4096')")
    open_details(page, "turn")
    page.evaluate("() => navigator.clipboard.writeText('')")
    page.click("[data-act=diagnose]")
    until(page, "() => document.querySelector('[data-said]').textContent.startsWith('Copied')")
    assert "4096" in page.evaluate("() => navigator.clipboard.readText()")


def test_what_a_button_did_is_said_inside_the_window_wherever_the_page_is_scrolled_to(served, page):
    served.run("run 94 bad")
    wake(page)
    open_details(page, "turn")
    page.set_viewport_size({"width": 1000, "height": 420})  # the panel is far longer
    until(page, "() => !!document.querySelector('[data-act=diagnose]')")
    page.evaluate("() => window.scrollTo(0, 0)")
    page.click("[data-act=diagnose]")
    until(
        page,
        "() => { const said = document.querySelector('[data-said]'), box = said.getBoundingClientRect();"
        " return said.textContent !== '' && box.top >= 0 && box.bottom <= window.innerHeight; }",
    )


def test_a_compare_report_is_opened_from_its_file(served, page):
    open_details(page, "probes")
    until(page, "() => !!document.querySelector('[data-form=report] input')")
    example = EXTENSION / "docs" / "examples" / "compare.json"
    page.set_input_files("[data-form=report] input", str(example))
    page.click("[data-form=report] button")
    until(page, "() => document.querySelector('[data-slot=opened]').innerText.includes('E_resonance')")
    page.click("[data-act=close-report]")
    until(page, "() => document.querySelector('[data-slot=opened]').innerText === ''")


def test_distance_and_verdict_change_while_the_reply_streams_and_settle(served, page):
    open_details(page)
    before = page.evaluate("() => document.querySelector('#eg-root .eg-bar').offsetHeight")
    served.send("stream 100")
    wake(page)
    page.wait_for_selector(".eg-live", state="attached", timeout=WAIT_MS)
    answers: set[str] = set()
    heights: set[int] = set()
    while page.query_selector(".eg-live"):
        answers.add(page.inner_text("[data-list='t.answer']"))
        heights.add(page.evaluate("() => document.querySelector('#eg-root .eg-bar').offsetHeight"))
        page.wait_for_timeout(100)
    served.await_line("done")
    page.wait_for_function(
        "() => document.querySelector('[data-list=\"t.answer\"]').innerText.includes('Should I go on')",
        timeout=WAIT_MS,
    )
    assert len(answers) >= 3, answers
    assert heights == {before}
    assert "Fail" in page.inner_text("[data-slot=glance]")


def test_a_click_a_hover_and_a_key_show_the_snippet_beside_a_sentence(served, page):
    served.run("run 101 bad")
    wake(page)
    open_details(page)
    page.wait_for_selector(".eg-diff", timeout=WAIT_MS)
    assert page.inner_text(".eg-diff").split() == ["Answer", "says", "4096", "Snippet", "says", "8192"]
    sentences = page.locator("[data-list='t.answer'] .eg-s")
    sentences.nth(1).hover()
    page.wait_for_function(
        "() => document.querySelector('.eg-ev-claim').textContent.startsWith('A rotation')", timeout=WAIT_MS
    )
    sentences.nth(2).click()
    page.wait_for_function(
        "() => document.querySelector('.eg-ev-claim').textContent.startsWith('It also')", timeout=WAIT_MS
    )
    assert sentences.nth(2).get_attribute("aria-pressed") == "true"
    sentences.nth(0).focus()
    page.keyboard.press("Enter")
    page.wait_for_function(
        "() => document.querySelector('.eg-ev-claim').textContent.startsWith('The KV')", timeout=WAIT_MS
    )


def test_the_switch_turns_the_checks_off_and_on_again(served, page):
    page.click("[role=switch]")
    page.wait_for_function(
        "() => document.querySelector('[data-slot=glance]').innerText.includes('Off')", timeout=WAIT_MS
    )
    served.run("run 102 bad")
    page.click("[role=switch]")
    page.wait_for_function(
        "() => !document.querySelector('[data-slot=glance]').innerText.includes('Off')", timeout=WAIT_MS
    )
    assert page.get_attribute("[role=switch]", "aria-checked") == "true"
    assert "turn-102" not in page.content()


def test_a_point_of_the_plot_opens_its_turn(served, page):
    served.run("run 103 good")
    served.run("run 104 bad")
    open_details(page, "time")
    page.wait_for_selector("[data-turn=turn-103]", timeout=WAIT_MS)
    page.click(".eg-p-point[data-turn=turn-103] >> nth=0")
    page.wait_for_selector("text=Back to the latest turn", timeout=WAIT_MS)
    assert "8192" in page.inner_text("[data-list='t.answer']")
    page.click("text=Back to the latest turn")
    page.wait_for_function(
        "() => document.querySelector('[data-list=\"t.answer\"]').innerText.includes('4096')", timeout=WAIT_MS
    )


def test_pasted_texts_are_checked_without_a_model(served, page):
    open_details(page, "check")
    page.fill("[name=snippets]", "The bridge is 5 metres long.")
    page.fill("[name=answer]", "The bridge is 6 metres long.")
    page.click("[data-form=check] button[type=submit]")
    page.wait_for_selector("[data-slot=checked] .eg-fail", timeout=WAIT_MS)
    assert "says 6" in page.inner_text("[data-slot=checked]")


def test_a_changed_tool_is_accepted_and_a_schema_is_refused_with_a_reason(served, page):
    open_details(page, "tools")
    page.wait_for_selector("[data-slot=tools] table", timeout=WAIT_MS)
    if page.query_selector("[data-act=accept]"):  # one page of the module accepts it
        assert "is blocked" in page.inner_text("[data-slot=problems]")
        page.click("[data-act=accept]")
    until(page, "() => document.querySelector('[data-slot=tools]').innerText.includes('Locked')")
    until(page, "() => !document.querySelector('[data-slot=problems]').textContent.includes('is blocked')")
    page.fill("[name=answer_schema]", "{")
    page.click("[data-form=schema] button[type=submit]")
    page.wait_for_function(
        "() => document.querySelector('[data-said]').textContent.includes('cannot be used')", timeout=WAIT_MS
    )
    assert page.input_value("[name=answer_schema]") == "{"


def test_a_drift_measurement_shows_how_far_it_is_and_is_cancelled(served, page):
    open_details(page, "model")
    page.wait_for_selector("[data-form=drift]", timeout=WAIT_MS)
    page.select_option("[name=max_tokens]", "16384")
    page.click("[data-form=drift] button")
    page.wait_for_selector("[data-slot=drift] [role=progressbar]", timeout=WAIT_MS)
    page.click("[data-act=cancel-drift]")
    page.wait_for_selector("[data-form=drift]", timeout=WAIT_MS)


def test_settings_are_applied_and_reset(served, page):
    open_details(page, "settings")
    page.wait_for_selector("[name=distance_pass]", timeout=WAIT_MS)
    page.fill("[name=distance_pass]", "0.3")
    page.click("[data-form=settings] button[type=submit]")
    page.wait_for_function("() => document.querySelector('[data-said]').textContent.includes('Applied')")
    assert page.input_value("[name=distance_pass]") == "0.3"
    page.click("[data-act=reset-settings]")
    page.wait_for_function(
        "() => document.querySelector('[name=distance_pass]').value === '0.45'", timeout=WAIT_MS
    )


def test_the_history_is_filtered_and_exported(served, page):
    served.run("run 105 good")
    served.run("run 106 bad")
    open_details(page, "history")
    page.select_option("[data-filter=verdict]", "FAIL")
    page.wait_for_function(
        "() => { const t = document.querySelector('[data-slot=history] tbody');"
        " return t && !t.innerText.includes('Pass') && t.innerText.includes('Fail'); }",
        timeout=WAIT_MS,
    )
    with page.expect_download(timeout=WAIT_MS) as download:
        page.click("[data-kind=json]")
    rows = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert {row["verdict"] for row in rows} == {"FAIL"}


def test_an_idle_panel_asks_at_most_once_in_five_seconds_and_little(served, page):
    page.evaluate("() => { window.egGuard.state.awakeUntil = 0; }")
    page.wait_for_timeout(1500)
    asked: list[int] = []
    page.on(
        "request",
        lambda request: asked.append(1) if "/run/" in request.url or "queue" in request.url else None,
    )
    page.wait_for_timeout(10_500)
    assert 1 <= len(asked) <= 3  # 10.5 s hold two or three beats of 5 s


@pytest.mark.parametrize("version", ["installed", "4.37.2"])
def test_two_users_with_logins_do_not_see_each_others_turns(browser, tmp_path, version):
    served = Served(python_of(version), tmp_path, "ann:one,bob:two")
    try:
        served.run("run 1 bad ann")
        shown = {}
        for user, word in (("ann", "one"), ("bob", "two")):
            context = browser.new_context()
            page = context.new_page()
            page.request.post(served.url + "login", form={"username": user, "password": word})
            open_panel(page, served)
            open_details(page)
            page.wait_for_timeout(800)
            shown[user] = page.inner_text("#eg-root")
            context.close()
    finally:
        served.close()
    assert "4096" in shown["ann"]
    assert "4096" not in shown["bob"]
    assert "No answer yet" in shown["bob"]


def test_details_shows_the_panel_where_the_host_does_not_draw_its_extensions(page):
    page.evaluate(
        """() => {
          const box = document.createElement("div");
          box.id = "extensions";
          const panel = document.querySelector("#eg-root");
          panel.replaceWith(box);
          box.append(panel);
          box.style.display = "none";
        }"""
    )
    assert not page.is_visible("#eg-root")
    page.evaluate("() => document.querySelector('[data-act=peek]').click()")
    page.wait_for_selector("#eg-root #eg-body", state="visible")
