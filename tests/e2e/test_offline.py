"""Without any network the embedded default starts, answers, embeds and scores, and asks nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import printed_by

pytestmark = pytest.mark.model


@pytest.mark.parametrize("switch", [[], ["--no-switch"]], ids=["as started", "without HF_HUB_OFFLINE"])
def test_everything_that_needs_no_network_works_without_one(tmp_path, switch):
    program = Path(__file__).with_name("offline_program.py")
    seen = printed_by(program, tmp_path, *switch, limit_s=400)
    assert seen["tried"] == []
    assert seen["worked"] == {
        "page": 200, "model": True, "verdict": "FAIL", "distance": True, "answer": True, "traced": True,
        "problems": [],
    }  # fmt: skip
