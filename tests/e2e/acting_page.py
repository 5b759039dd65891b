"""What tests of acting share on every page: the settings form in the panel, and the newest trace."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

MARK = "⚠ Guardrails: "
REFUSED = "The model's answer was held back"


def choose(page: Any, **values: str) -> None:
    """Sets settings in the panel's own form."""
    if page.get_attribute("#eg-root [data-act=fold]", "aria-expanded") == "false":
        page.click("#eg-root [data-act=fold]")
    page.click("#eg-root [data-tab=settings]")
    page.wait_for_selector("form[data-form=settings] select[name=on_fail]")
    for name, value in values.items():
        page.select_option(f"form[data-form=settings] select[name={name}]", value)
    page.click("form[data-form=settings] button[type=submit]")
    page.wait_for_timeout(1500)


def turn_page(page: Any) -> str:
    """The text of the panel's page of the newest turn."""
    page.click("#eg-root [data-tab=turn]")
    page.wait_for_timeout(1500)
    return str(page.inner_text("#eg-root"))


def traces(folder: Path) -> list[dict[str, Any]]:
    """The lines of the newest trace file below `folder`, oldest first."""
    files = sorted(folder.rglob("traces-*.jsonl"))
    return [json.loads(line) for line in files[-1].read_text("utf-8").splitlines()] if files else []


def next_trace(folder: Path, before: int, limit_s: float = 30.0) -> dict[str, Any]:
    """The newest line once there are more than `before`: it is written a moment after the page is told."""
    ends_s = time.monotonic() + limit_s
    while len(found := traces(folder)) <= before:
        assert time.monotonic() < ends_s, f"no trace within {limit_s} s"
        time.sleep(0.1)
    return found[-1]
