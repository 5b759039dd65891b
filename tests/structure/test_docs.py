"""Every page's links lead somewhere, and no page or module speaks of the machine it was written on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import EXTENSION, ROOT

PAGES = sorted([ROOT / "README.md", *EXTENSION.rglob("*.md"), *(ROOT / "tests").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
MACHINE = re.compile(r"/work/|/root/|/opt/pypi|spec section|host\.md|spec\.md|style\.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_and_to_pictures_resolve(page: Path) -> None:
    targets = [target.split("#")[0] for target in LINK.findall(page.read_text("utf-8"))]
    here = [target for target in targets if target and "://" not in target]
    missing = [target for target in here if not (page.parent / target).exists()]
    assert missing == []


def test_nothing_tells_of_the_machine_it_was_written_on() -> None:
    files = [*PAGES, *EXTENSION.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), ROOT / "pyproject.toml"]
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in files
        if path != Path(__file__) and (match := MACHINE.search(path.read_text("utf-8")))
    ]
    assert found == []
