"""A browser for the tests of pages, and the panel's demo page on each Gradio."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import real_browser
from e2e.panel_page import Served, open_panel, python_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with real_browser.started() as running:
        yield running


@pytest.fixture(scope="module", params=["installed", "4.37.2"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(python_of(request.param), tmp_path_factory.mktemp("traces"))
    yield made
    made.close()


@pytest.fixture
def page(served: Served, browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1100, "height": 900})
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    open_panel(opened, served)
    yield opened
    opened.close()
    # Gradio 4.37.2 itself asks Google for its fonts; the panel asks nobody.
    ours = [fault for fault in faults if "ERR_" not in fault and "fonts.googleapis" not in fault]
    assert ours == []
