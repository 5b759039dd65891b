"""The panel at 320 px, in forced colours, by keyboard through the history, and in many tabs at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from e2e.panel_page import open_details, until

TABS = ("turn", "time", "history", "probes", "doctor", "check", "tools", "model", "settings")
CUT = """() => [...document.querySelectorAll('#eg-root *')].filter((el) => {
    const style = getComputedStyle(el);
    const box = el.getBoundingClientRect();
    if (!el.offsetParent || el.closest('.eg-vh') || !el.textContent.trim() || !box.width) return false;
    const scrolls = el.closest('.eg-tabs, .eg-table, .eg-p-scroll, pre, textarea, input, select');
    if (scrolls) return false;
    const shortened = style.textOverflow === 'ellipsis' || style.webkitLineClamp !== 'none';
    const clipped = !shortened && style.overflowX !== 'visible' && el.scrollWidth > el.clientWidth + 1;
    return box.right > innerWidth + 0.5 || clipped;
}).map((el) => el.outerHTML.slice(0, 120))"""

pytestmark = pytest.mark.browser


def _shot(page, name):
    folder = os.environ.get("GUARDRAILS_SHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def test_older_and_newer_keep_the_keyboards_focus_to_the_last_page(served, page):
    for number in range(26):
        served.run(f"run {300 + number} bad")
    open_details(page, "history")
    until(page, "() => !!document.querySelector('.eg-pager [data-kind=older]')")
    page.focus(".eg-pager [data-kind=older]")
    pages = page.evaluate(
        "() => Number(document.querySelector('.eg-pager .eg-note').textContent.match(/of (\\d+)/)[1])"
    )
    assert pages > 1
    for number in range(2, pages + 1):
        page.keyboard.press("Enter")
        until(
            page,
            f"() => document.querySelector('.eg-pager .eg-note').textContent.startsWith('Page {number} of')",
        )
        assert page.evaluate("() => document.activeElement.dataset.kind") == "older"
    page.keyboard.press("Enter")  # the end: it stays where it is
    assert page.evaluate("() => document.activeElement.dataset.kind") == "older"


def test_at_320_px_nothing_is_cut(served, page):
    served.run("run 107 bad")
    page.set_viewport_size({"width": 320, "height": 800})
    for tab in TABS:
        open_details(page, tab)
        page.wait_for_timeout(700)
        _shot(page, f"narrow-{tab}")
        assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0, tab
        assert page.evaluate(CUT) == [], tab


def test_forced_colours_show_on_and_off_the_tab_and_the_points(served, page):
    served.run("run 107 bad")
    page.emulate_media(forced_colors="active")
    open_details(page, "time")
    until(page, "() => !!document.querySelector('.eg-p-point i')")
    colour = "(selector, name) => getComputedStyle(document.querySelector(selector))[name]"

    def of(selector, name="backgroundColor"):
        return page.evaluate(f"([selector, name]) => ({colour})(selector, name)", [selector, name])

    ground = page.evaluate("() => getComputedStyle(document.querySelector('#eg-root')).backgroundColor")
    _shot(page, "forced-on")
    on = of(".eg-switch"), of(".eg-switch i")
    assert on[0] != on[1]
    page.click(".eg-switch")
    until(page, "() => document.querySelector('.eg-switch').getAttribute('aria-checked') === 'false'")
    page.wait_for_timeout(300)
    _shot(page, "forced-off")
    off = of(".eg-switch"), of(".eg-switch i")
    assert off[0] != off[1]
    assert on[0] != off[0]
    page.click(".eg-switch")
    assert of('[role=tab][aria-selected="true"]') != of('[role=tab][aria-selected="false"]')
    assert of(".eg-p-point i") != ground


def test_eight_tabs_of_one_browser_all_go_on(served, page):
    """A browser allows six connections for one host: a tab that holds one keeps the seventh waiting."""
    context = page.context.browser.new_context()
    tabs = [context.new_page() for _ in range(8)]
    for tab in tabs:
        tab.goto(served.url)
        until(tab, "() => window.egGuard && window.egGuard.state.v >= 0")
    for tab in tabs:
        tab.bring_to_front()
        open_details(tab, "settings")
        until(tab, "() => !!document.querySelector('#eg-panel-settings [data-form=settings]')")
    context.close()
