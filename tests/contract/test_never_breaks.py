"""100,000 random calls of every hook and wrapper, and every function of ours made to raise, in each host.

GUARDRAILS_FUZZ_CALLS sets how many calls (100,000 take about 10 s), GUARDRAILS_FUZZ_SEED which.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from programs import printed_by
from webui_hosts import hosts

CALLS = int(os.environ.get("GUARDRAILS_FUZZ_CALLS", "100000"))
SEED = int(os.environ.get("GUARDRAILS_FUZZ_SEED", "1"))
HOOKS = {"history", "state", "chat_input", "input", "output", "bot_prefix", "tokenizer", "logits_processor"}


@pytest.fixture(scope="module", params=hosts())
def host(request):
    """Runs a program of this folder in a host and gives what it printed."""
    folder, python = request.param

    def run(program, *arguments):
        place = Path(__file__).with_name(program)
        return printed_by(place, folder, *arguments, python=python, limit_s=500)

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


# Stand in the place of a host's function and pass its call on: a fault in one would be the call's own.
CARRIERS = {
    "host/acting/api:_with_last_report.<locals>.stream",
    "host/acting/api:_with_report.<locals>.respond",
    "host/guard:guarded.<locals>.decorate.<locals>.safe",
    "host/lifecycle/hooks:gating.<locals>.wrap.<locals>.gated",
    "host/lifecycle/model_watch:ModelWatch.install.<locals>.set_attribute",
    "host/turn/observe:_Turn.after",
    "host/turn/observe:_watched",
    "host/turn/observe:observing.<locals>.wrap.<locals>.observed",
    "host/turn/observe:seeing_prompt.<locals>.seen",
    "host/patches:Patch._made.<locals>.patch",
    "host/tools/api:with_repairs",
    "host/tools/guard:ToolGuard._api.<locals>.chat_completions_common",
    "host/tools/gate:ToolGate.executing.<locals>.execute_tool",
    "host/tools/gate:ToolGate.loading.<locals>.load",
    "host/tools/gate:ToolGate.parsing.<locals>.parse_tool_call",
    "host/tools/guard:ToolGuard._page.<locals>.generate_chat_reply_wrapper",
    "host/tools/guard:ToolGuard._reply.<locals>.generate_chat_reply",
    "host/tools/repair:repairing.<locals>.repaired",
    "host/tools/reply:following",
    "host/stepping:stepped",
    "host/turn/second_try:SecondTry.grow",
    "host/turn/second_try:put_back",
}
TELLERS = {  # what would tell of the fault is what was broken
    "assembly:_report_problems",
    "host/guard:report",
    "sources/knowledge_folder:KnowledgeFolder._refresh_or_report",
    "sources/knowledge_folder:KnowledgeFolder._report",
    "sources/knowledge_folder:KnowledgeFolder.status",
    "monitor/main:Monitor.report_problem",
    "monitor/main:Monitor.wait_until_idle",
    "monitor/memory:Memory.report_problem",
    "monitor/scoring:ScoringWorker._after_job",
    "monitor/scoring:ScoringWorker.submit",
}
CLOSERS = {  # what would close a turn is what was broken: the queue's limit bounds what stays
    "host/turn/observe:_Turn.close",
    "monitor/scoring:ScoringWorker._score_final",
    "monitor/scoring:ScoringWorker._score_waiting",
    "monitor/scoring:ScoringWorker._take",
    "monitor/scoring:ScoringWorker.score_final",
    "monitor/turn:TurnHandle.close",
}


@pytest.fixture(scope="module")
def faults(host):
    """What each function did to the host's turns when it raised."""
    return host("fault_program.py")


def test_every_function_that_a_turn_reaches_may_raise_and_the_host_gets_its_reply(faults):
    good = faults["good"]
    broken = faults["results"]
    assert len(broken) > 300
    assert len(faults["not_live"]) < 12
    raised = {name for name, result in broken.items() if result["raised"]}
    assert raised <= CARRIERS
    changed = {
        name: result["given"]
        for name, result in broken.items()
        if name not in CARRIERS and result["given"] != [good[result["turn"]]] * 2
    }
    assert changed == {}
    assert faults["after"] == good


def test_a_fault_in_every_turn_is_shown_once_and_logged_once(faults):
    for name, result in faults["results"].items():
        if name in CARRIERS or not result["hits"]:
            continue
        assert result["problems"] or name in TELLERS, f"nothing tells of {name}"
        # The hooks and the scoring thread each tell of what they met.
        assert len(result["problems"]) <= 2, (name, result["problems"])
        assert len(result["log"]) == len({line.split()[0] for line in result["log"]}), (name, result["log"])


def test_a_turn_with_a_fault_does_not_stay_open(faults):
    left = {name for name, result in faults["results"].items() if result["open"]}
    assert left <= CLOSERS | CARRIERS


def test_taken_out_again_the_host_is_as_it_was_also_beside_another_extension(host):
    seen = host("uninstall_program.py")
    assert {"modules.text_generation._generate_reply", "modules.shared class"} <= set(seen["patched"])
    assert (seen["left"], seen["differs_after"]) == ([], [])
    assert seen["same_answer"]
    assert seen["observed_after"] == 0
    # In again, and another extension wraps each of our functions after us.
    assert seen["observed_again"] == 1
    assert seen["observed_beside"] == 1, "a restart of the page put it in twice, or took it out"
    assert seen["theirs_called"] >= 3
    assert set(seen["left_beside"]) == {name for name in seen["patched_again"] if not name.endswith(" class")}
    assert seen["theirs_stay"]
    assert seen["same_answer_beside"]
    assert seen["observed_after_beside"] == 0, "what another extension keeps of ours still observes"
    # The other one goes too; then ours comes and goes once more.
    assert seen["same_answer_last"]
    assert seen["observed_last"] == 0
    assert seen["observed_once_more"] == 1
    assert (seen["left_last"], seen["differs_last"], seen["threads"]) == ([], [], [])


def test_a_host_that_renamed_something_loses_that_part_and_says_which(host):
    seen = host("versions_program.py")
    assert seen.pop("nothing hidden") == []
    assert seen.pop("everything there again") == [1, []]
    assert len(seen) > 15
    for name, without in seen.items():
        assert without["answered"], (name, without["raised"])
        assert without["left"] == []
        observed = "so no turn is measured" not in without["off"]
        assert without["observed"] == observed, name
        assert any(without["off"] in sentence for sentence in without["told"]), name
        assert not [sentence for sentence in without["told"] if "A fault" in sentence], name
        assert without["log"] == [], name
