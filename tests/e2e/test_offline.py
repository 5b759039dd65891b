"""Without any network the embedded default starts, answers, embeds and scores, and asks nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.model


@pytest.mark.parametrize("switch", [[], ["--no-switch"]], ids=["as started", "without HF_HUB_OFFLINE"])
def test_everything_that_needs_no_network_works_without_one(tmp_path, switch):
    program = Path(__file__).with_name("offline_program.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path), *switch],
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout)
    assert seen["tried"] == []
    assert seen["worked"] == {
        "page": 200, "model": True, "verdict": "FAIL", "distance": True, "answer": True, "traced": True,
        "problems": [],
    }  # fmt: skip
