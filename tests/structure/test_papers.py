"""What docs/architecture.md and docs/contributing.md say of the code is so."""

from __future__ import annotations

import re

import pytest
from conftest import EXTENSION
from structure.rooms import PACKAGE
from structure.test_layers import ALLOWED

PAPERS = ("architecture.md", "contributing.md")
TABLE = re.compile(r"^\| (`[^|]*`) \| [^|]* \| ([^|]*) \|$", re.MULTILINE)
# `host/turn/observe.py`, `host/guard.guarded`, `tools/locks/`
PLACE = re.compile(r"`([a-z_]+(?:/[a-z_0-9]+)+)(\.py|/|\.[A-Za-z_]+)?`")


def text_of(paper: str) -> str:
    return (EXTENSION / "docs" / paper).read_text(encoding="utf-8")


def test_the_table_of_rooms_is_the_one_that_is_held() -> None:
    told: dict[str, set[str]] = {}
    for rooms, imports in TABLE.findall(text_of("architecture.md")):
        for room in re.findall(r"`([a-z_]+)/?`", rooms):
            told[room] = set(re.findall(r"[a-z_]+", re.sub(r"`[^`]*`:", "", imports)))
    told["errors"] = set()  # shares a row with `settings`
    assert told == {room: others - {""} for room, others in ALLOWED.items() if room}


@pytest.mark.parametrize("paper", PAPERS)
def test_every_place_in_the_code_that_a_paper_names_is_there(paper: str) -> None:
    missing = []
    for place, end in PLACE.findall(text_of(paper)):
        if place.startswith(("docs/", "tests/")):
            base = EXTENSION if place.startswith("docs/") else EXTENSION.parents[1]
            found = (base / f"{place}{end}").exists()
        elif end in ("", ".py", "/"):
            found = (PACKAGE / f"{place}{end if end == '.py' else ''}").exists()
        else:
            module = (PACKAGE / place).with_suffix(".py")
            found = module.exists() and re.search(
                rf"^(?:def|class) {end[1:]}\b", module.read_text("utf-8"), re.MULTILINE
            )
        if not found:
            missing.append(place + end)
    assert missing == []
