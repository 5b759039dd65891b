"""When a model is warm, and how cold its first run was."""

from __future__ import annotations

import pytest
from exllama_guard.core.measures import NotScored
from exllama_guard.lifecycle.warmup import (
    MAX_RUNS,
    Run,
    first_run_ratio,
    is_warm,
    needs_another_run,
    probe_prompts,
    ratios,
    tokens_per_s,
)
from hypothesis import given
from hypothesis import strategies as st

TIMES = st.floats(min_value=1e-4, max_value=100.0)


def _runs(*ttfts: float) -> list[Run]:
    return [Run(ttft, 2 * ttft, 10, "text") for ttft in ttfts]


@pytest.mark.parametrize(
    ("ttfts", "warm"),
    [
        ((1.0,), False),
        ((1.0, 1.0), False),
        ((1.0, 1.0, 1.0), True),
        ((1.0, 0.8, 1.0), True),  # both limits belong to the band
        ((1.0, 1.25, 1.0), True),
        ((1.0, 1.26, 1.0), False),
        ((1.0, 0.79, 0.79), False),
        ((26.0, 1.0, 1.0), False),  # only one ratio of the last two fits
        ((26.0, 1.0, 1.0, 1.1), True),
    ],
)
def test_warm_is_two_successive_ratios_in_the_band(ttfts, warm):
    assert is_warm(_runs(*ttfts)) is warm


@given(st.lists(TIMES, max_size=8))
def test_there_are_never_more_than_the_most_runs(times):
    runs = _runs(*times)
    assert not needs_another_run(runs) or len(runs) < MAX_RUNS
    assert needs_another_run([])


@given(st.lists(TIMES, min_size=2, max_size=8), st.floats(min_value=0.01, max_value=100.0))
def test_a_slower_machine_is_as_warm_as_a_fast_one(times, factor):
    scaled = [time * factor for time in times]
    assert ratios(_runs(*scaled)) == pytest.approx(ratios(_runs(*times)))


def test_the_first_run_is_compared_with_the_median_of_the_later_ones():
    assert first_run_ratio(_runs(26.0, 1.0, 1.0, 9.0, 1.0)) == 26.0
    assert isinstance(first_run_ratio(_runs(1.0)), NotScored)


def test_tokens_a_second_leave_out_the_first_token():
    assert tokens_per_s([Run(1.0, 2.0, 11, "")]) == pytest.approx(10.0)
    assert isinstance(tokens_per_s([Run(1.0, 1.0, 11, "")]), NotScored)
    assert isinstance(tokens_per_s([Run(1.0, 2.0, 1, "")]), NotScored)


def test_probes_are_equally_long_and_differ_from_the_first_word_on():
    prompts = probe_prompts()
    assert len(prompts) == MAX_RUNS == len({prompt.split()[0] for prompt in prompts})
    assert len({len(prompt) for prompt in prompts}) == 1
    assert prompts == probe_prompts()


def test_probes_are_equally_long_in_tokens_where_the_tokenizer_splits_some_words():
    def count(text: str) -> int:
        return len(text.split()) + text.startswith(("Rivers", "Copper"))

    prompts = probe_prompts(count)
    assert len(prompts) == MAX_RUNS
    assert len({count(prompt) for prompt in prompts}) == 1
