"""What is done with a cache between answers, and what counts as drift."""

from __future__ import annotations

import pytest
from exllama_guard.core.backend import CacheUsage, Capabilities, Shards, shard_hash
from exllama_guard.core.measures import NotScored
from exllama_guard.lifecycle.kv_cache import (
    Action,
    Cause,
    DriftPoint,
    DriftReport,
    context_drift_at,
    decide,
    evaluated_tokens,
    mismatch,
    numeric_drift_at,
    shared_prefix,
)
from hypothesis import given
from hypothesis import strategies as st

ALL = Capabilities("all", cache_reset=True, cache_trim=True, cache_defragment=True)
NONE = Capabilities("none")
IDS = st.lists(st.integers(min_value=0, max_value=3), max_size=40)


def _action(*args, **kwargs):
    return decide(*args, **kwargs).action


def test_the_limit_itself_resets_and_one_token_less_does_not():
    assert _action(8191, 8192, ALL) is Action.KEEP
    assert decide(8192, 8192, ALL).cause is Cause.LIMIT
    assert _action(8192, 8192, ALL) is Action.RESET


def test_nothing_happens_inside_an_answer():
    decision = decide(9000, 8192, ALL, busy=True)
    assert (decision.action, decision.cause, decision.postponed) == (Action.KEEP, Cause.LIMIT, True)
    assert decide(0, 8192, ALL, busy=True, forced=Cause.BAD_LOGITS).action is Action.KEEP


def test_off_keeps_but_a_forced_reset_still_happens():
    assert decide(9000, 8192, ALL, enabled=False).cause is Cause.OFF
    for cause in (Cause.BAD_LOGITS, Cause.CANARY, Cause.MODEL, Cause.ASKED):
        assert cause.forced
        assert _action(0, 8192, ALL, enabled=False, forced=cause) is Action.RESET


def test_a_loader_without_the_action_keeps_and_says_why():
    assert decide(9000, 8192, NONE).cause is Cause.NOT_POSSIBLE
    assert _action(9000, 8192, NONE) is Action.KEEP


def test_a_nearly_full_cache_is_trimmed_and_a_scattered_one_is_defragmented():
    assert _action(10, 8192, ALL, usage=CacheUsage(95, 100)) is Action.TRIM
    assert _action(10, 8192, ALL, usage=CacheUsage(94, 100)) is Action.KEEP
    assert _action(10, 8192, ALL, usage=CacheUsage(10, 100, 0.5)) is Action.DEFRAGMENT
    assert _action(10, 8192, ALL, usage=CacheUsage(10, None, 0.0)) is Action.KEEP


@pytest.mark.parametrize(("tokens", "limit"), [(1, 0), (1, -8), (-1, 10)])
def test_a_limit_that_is_no_limit_is_refused_with_the_numbers(tokens, limit):
    with pytest.raises(ValueError, match=str(limit)):
        decide(tokens, limit, ALL)


@given(IDS, IDS)
def test_the_shared_prefix_is_the_longest_equal_beginning(a, b):
    n = shared_prefix(a, b)
    assert a[:n] == b[:n]
    assert n == min(len(a), len(b)) or a[n] != b[n]


@given(IDS, IDS, st.sampled_from([None, 1, 4, 256]))
def test_evaluated_tokens_lie_between_one_and_the_whole_prompt(prompt, before, step):
    evaluated = evaluated_tokens(prompt, before, step)
    assert (1 if prompt else 0) <= evaluated <= len(prompt)
    if prompt and step is None:
        assert evaluated == len(prompt)


def test_a_conversation_counts_each_token_once_where_the_cache_is_reused():
    held: list[int] = []
    total = 0
    for turn in range(10):
        prompt = [*held, *([turn] * 20)]
        total += evaluated_tokens(prompt, held, 1) + 5
        held = [*prompt, *([99] * 5)]
    assert total == 10 * 25
    assert evaluated_tokens(held, held[:300], 256) == len(held)  # less than a page is held


@given(IDS, IDS)
def test_the_distance_of_two_outputs_is_a_share_and_zero_only_for_equal_ones(a, b):
    distance = mismatch(a, b)
    assert 0.0 <= distance <= 1.0
    assert (distance == 0.0) == (a == b)
    assert distance == mismatch(b, a)


def test_what_comes_after_the_first_difference_does_not_count():
    assert mismatch([1, 2, 3, 4], [1, 9, 3, 4]) == 0.75


def test_numeric_drift_is_the_first_length_beyond_the_floor():
    points = [DriftPoint(256, 0.0), DriftPoint(512, 0.3), DriftPoint(1024, 0.6)]
    assert numeric_drift_at(points, 0.0) == 512
    assert numeric_drift_at(points, 0.3) == 1024
    assert numeric_drift_at(points, 0.6) is None
    assert isinstance(numeric_drift_at([], 0.0), NotScored)


def test_context_drift_is_a_rise_of_a_tenth_over_the_first_five_turns():
    tokens = [100 * turn for turn in range(1, 13)]
    assert context_drift_at([0.3] * 12, tokens) is None
    assert context_drift_at([0.3] * 6 + [0.6] * 6, tokens) == 800  # 2 of 5 at 0.6: the mean is 0.42
    assert isinstance(context_drift_at([0.3] * 5, tokens[:5]), NotScored)
    with pytest.raises(ValueError, match="2 distances and 1"):
        context_drift_at([0.1, 0.2], [1])


def test_a_report_states_the_tested_maximum_and_what_a_reset_cannot_cure():
    report = DriftReport(4096, 0.0, (), None, 2048)
    text = " ".join(report.sentences())
    assert "none up to 4096 tokens" in text
    assert "from 2048 tokens on" in text
    assert "cures numeric drift only" in text


@pytest.mark.parametrize(
    ("shards", "words"),
    [
        (Shards(("cpu",)), "1 × cpu"),
        (Shards(("GPU-1",)), "1 GPU visible"),
        (Shards(("GPU-1", "GPU-2")), "2 GPUs visible, split left to the loader"),
        (
            Shards(("GPU-1", "GPU-2"), "20,24", True, "nccl"),
            "2 GPUs visible, split 20,24, tensor parallel nccl",
        ),
    ],
)
def test_shards_in_words_name_no_device(shards, words):
    assert shards.in_words() == words


def test_the_shard_hash_sees_the_order_of_devices_and_the_way_of_splitting():
    hashes = {
        shard_hash(shards)
        for shards in (
            Shards(("A", "B")),
            Shards(("B", "A")),
            Shards(("A", "B"), "20,24"),
            Shards(("A", "B"), "20,24", True),
            Shards(("A", "B"), "20,24", True, "nccl"),
        )
    }
    assert len(hashes) == 5
