"""The panel by keyboard, at any width, and under axe, on both Gradios of test_panel_browser.py.

`GUARDRAILS_AXE` names axe.min.js of the npm package axe-core; without it that test is skipped.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from e2e.panel_page import WAIT_MS, open_details, until

TABS = ("turn", "time", "history", "probes", "doctor", "check", "tools", "model", "settings")

pytestmark = pytest.mark.browser


def test_tabs_are_walked_with_the_arrow_keys(served, page):
    open_details(page)
    page.focus("[data-tab=turn]")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("() => document.activeElement.dataset.tab") == "time"
    assert page.is_visible("#eg-panel-time")
    page.keyboard.press("End")
    assert page.is_visible("#eg-panel-settings")


@pytest.mark.parametrize("width", [390, 1100])
def test_nothing_is_wider_than_the_page_and_no_text_is_below_12_px(served, page, width):
    served.run("run 107 bad")
    page.set_viewport_size({"width": width, "height": 844})
    for tab in TABS:
        open_details(page, tab)
        page.wait_for_timeout(500)
        assert page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth") <= 0, tab
        small = page.evaluate(
            """() => [...document.querySelectorAll('#eg-root *')].filter((el) => el.offsetParent
            && [...el.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())
            && parseFloat(getComputedStyle(el).fontSize) < 12).map((el) => el.outerHTML.slice(0, 80))"""
        )
        assert small == [], tab


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(served, page, theme):
    axe = _axe()
    served.run("run 108 bad")
    open_details(page, "probes")
    page.wait_for_selector("[data-form=probe], [data-act=stop-probe]", timeout=WAIT_MS)
    if page.query_selector("[data-form=probe]"):
        page.click("[data-form=probe] button[type=submit]")
    until(page, "() => !!document.querySelector('.eg-grid')")
    page.evaluate(f"() => document.body.classList.toggle('dark', {str(theme == 'dark').lower()})")
    page.add_script_tag(path=str(axe))
    serious: list[Any] = []
    for tab in TABS:
        open_details(page, tab)
        page.wait_for_timeout(600)
        found = page.evaluate(
            "async () => (await axe.run({include: [['#eg-root'], ['#eg-line']]})).violations"
        )
        serious += [
            (
                tab,
                each["id"],
                each["nodes"][0]["html"][:120],
                each["nodes"][0].get("failureSummary", "")[:200],
            )
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
    assert serious == []


def _axe() -> Path:
    places = [
        Path(os.environ.get("GUARDRAILS_AXE", "")),
        ROOT / "node_modules" / "axe-core" / "axe.min.js",
    ]
    for place in places:
        if place.is_file():
            return place
    pytest.skip("no axe-core: npm install axe-core, and name its axe.min.js in GUARDRAILS_AXE")
