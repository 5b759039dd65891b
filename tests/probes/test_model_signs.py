"""What use shows of a model: each breakpoint fires on its own sign, and says why where it cannot."""

from __future__ import annotations

import pytest
from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.probes.doctor.model_signs import Fence, ModelSigns, ToolCounts, observe_signs, tool_counts
from exllama_guard.probes.doctor.symptoms import fired
from exllama_guard.probes.measures.logit_drift import LogitDrift
from exllama_guard.tools.attempts import prose_beside
from exllama_guard.tools.ledger import CallRecord

WARM = Fence("warm", kept=True, ratio=1.1, same_text=True, slowest_s=0.5)
HEALTHY = ModelSigns(
    fence=WARM, finite=True, shards_before="a", shards_now="a", tools=ToolCounts(4, 4, 4, 0), logprobs=True
)


def verdicts(signs):
    return {one.symptom.id: one.verdict for one in observe_signs(signs)}


def test_a_healthy_model_shows_nothing():
    assert set(verdicts(HEALTHY).values()) == {Gate.PASS}


def test_without_a_model_every_sign_says_why():
    observations = observe_signs(ModelSigns())
    assert {one.verdict for one in observations} == {Gate.NOT_MEASURED}
    assert all(one.evidence for one in observations)


def changed(**values):
    from dataclasses import replace

    return replace(HEALTHY, **values)


@pytest.mark.parametrize(
    ("signs", "id_", "verdict"),
    [
        (changed(fence=Fence("warm", True, 1.51, True, 0.5)), "EX1", Gate.REVIEW),
        (changed(fence=Fence("warm", True, 1.50, True, 0.5)), "EX1", Gate.PASS),
        (changed(fence=Fence("warm", True, 1.0, False, 0.5)), "EX1", Gate.FAIL),
        (changed(fence=Fence("warm", True, NotScored(Reason.NOT_ENOUGH_DATA))), "EX1", Gate.NOT_MEASURED),
        (changed(fence=Fence("late", False, 1.0, True, 0.5)), "T5", Gate.REVIEW),
        (changed(fence=Fence("warm-up is off")), "T5", Gate.NOT_MEASURED),
        (changed(tools=ToolCounts(100, 98, 98, 0)), "EX4", Gate.FAIL),
        (changed(tools=ToolCounts(100, 100, 97, 0)), "EX4", Gate.FAIL),
        (changed(tools=ToolCounts(100, 100, 100, 1)), "EX4", Gate.FAIL),
        (changed(tools=ToolCounts()), "EX4", Gate.NOT_MEASURED),
        (changed(shards_now="b"), "EX5", Gate.REVIEW),
        (changed(shards_before=None), "EX5", Gate.NOT_MEASURED),
        (changed(shards_now=""), "EX5", Gate.NOT_MEASURED),
        (changed(canary="The same model now writes something else."), "EX5", Gate.REVIEW),
        (changed(fence=Fence("warm", True, 1.0, True, 121.0)), "EX5", Gate.FAIL),
        (changed(baseline=LogitDrift(0.04, 0.1, 0.0, 1.0, 60), floor=0.01), "EX5", Gate.FAIL),
        (changed(baseline=LogitDrift(0.02, 0.1, 0.0, 1.0, 60), floor=0.01), "EX5", Gate.PASS),
        (changed(logprobs=False, second_reader=True), "SR1", Gate.REVIEW),
        (changed(logprobs=False), "SR1", Gate.NOT_MEASURED),
        (changed(logprobs=None, second_reader=True), "SR1", Gate.NOT_MEASURED),
    ],
)
def test_each_sign_has_its_limit(signs, id_, verdict):
    assert verdicts(signs)[id_] is verdict


def test_a_loader_without_log_probabilities_is_named():
    signs = changed(logprobs=False, second_reader=True, loader="TensorRT-LLM")
    (seen,) = fired(observe_signs(signs))
    assert "TensorRT-LLM gives no log-probabilities" in seen.evidence
    assert "another loader" in seen.evidence


def test_what_is_upstream_comes_first():
    signs = changed(fence=Fence("warm", True, 2.0, True, 0.5), tools=ToolCounts(10, 5, 5, 0))
    assert [one.symptom.id for one in fired(observe_signs(signs))] == ["EX1", "EX4"]


def record(*codes, valid=False):
    return CallRecord("get", valid, valid, 0.0, None, codes=codes)


def test_calls_are_counted_by_what_was_wrong():
    records = [record(valid=True), record("truncated"), record("required"), record("unknown_tool")]
    counts = tool_counts(records, ['Sure. <tool_call>{"name": "get", "arguments": {}}</tool_call>', "Hello."])
    assert counts == ToolCounts(calls=4, parsed=3, valid=1, with_prose=1)


@pytest.mark.parametrize(
    ("reply", "prose"),
    [
        ('<tool_call>{"name": "a", "arguments": {"x": 1}}</tool_call>', False),
        ('<think>hm</think><tool_call>\n{"name": "a", "arguments": {}}\n</tool_call>', False),
        ('[TOOL_CALLS]get[ARGS]{"x": 1}', False),
        ('I look it up. <tool_call>{"name": "a", "arguments": {}}</tool_call>', True),
        ('<tool_call>{"name": "a", "arguments": {}}</tool_call> Done!', True),
        ("The cache holds 8192 tokens.", None),
        ("", None),
    ],
)
def test_prose_beside_a_call(reply, prose):
    assert prose_beside(reply) is prose
