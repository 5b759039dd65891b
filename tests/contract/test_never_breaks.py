"""100,000 random calls of every hook and wrapper, and every function of ours made to raise, in each host.

GUARDRAILS_FUZZ_CALLS sets how many calls (100,000 take about 10 s), GUARDRAILS_FUZZ_SEED which.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from webui_hosts import hosts

CALLS = int(os.environ.get("GUARDRAILS_FUZZ_CALLS", "100000"))
SEED = int(os.environ.get("GUARDRAILS_FUZZ_SEED", "1"))
HOOKS = {"history", "state", "chat_input", "input", "output", "bot_prefix", "tokenizer", "logits_processor"}


@pytest.fixture(scope="module", params=hosts())
def host(request):
    """Runs a program of this folder in a host and gives what it printed."""
    folder, python = request.param

    def run(program, *arguments):
        command = [python, str(Path(__file__).with_name(program)), str(folder), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    return run


def test_whatever_the_host_hands_over_it_gets_its_own_value_back(host):
    seen = host("fuzz_program.py", CALLS, SEED)
    assert seen["changed"] == []
    assert set(seen["calls"]) == HOOKS | {"generate"}
    assert sum(seen["calls"].values()) == CALLS
    assert seen["idle"], "scoring did not come to an end"
    assert seen["open"] == 0
    assert seen["turns"] > 0
    assert seen["problems"], "the odd values should have met a fault that is told of"
    assert len(seen["problems"]) <= 20
    assert len(seen["log"]) == len(set(seen["log"])), "a fault was logged twice"
    print(f"{CALLS} calls in {seen['seconds']:.1f} s, {len(seen['log'])} kinds of faults logged once each")
