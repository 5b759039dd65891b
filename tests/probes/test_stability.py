"""λ on scripted answers with hand-computed states, entropy and intervals."""

from __future__ import annotations

import math

import pytest
from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.probes.measures.agreement import (
    clusters_of,
    is_refusal,
    numbers_of,
    polarity_of,
    same_meaning,
)
from exllama_guard.probes.measures.stability import (
    Answer,
    RunState,
    citation_iou,
    judge_runs,
    lambda_step,
    semantic_entropy,
    wilson_low,
)
from exllama_guard.testing import FakeEmbedder
from hypothesis import given
from hypothesis import strategies as st

S1 = frozenset({"s1"})
S2 = frozenset({"s2"})


def grid(*cells: tuple[int | None, frozenset[str]]) -> list[Answer]:
    return [
        Answer(form=i // 2, seed=i % 2, text=f"a{c}", cluster=c, cited=cited, aborted=c is None)
        for i, (c, cited) in enumerate(cells)
    ]


def states(report) -> str:
    return " ".join(run.state.value for run in report.runs)


def test_six_of_six_converge_with_a_wilson_bound_of_0_61():
    report = judge_runs(grid(*[(0, S1)] * 6), citations_wanted=True)
    assert report.verdict is RunState.CONVERGENT
    assert report.gate is Gate.PASS
    assert (report.n, report.convergent) == (6, 6)
    assert report.low == pytest.approx(0.6097, abs=1e-4)
    assert report.entropy == 0.0
    assert report.iou == 1.0


def test_five_of_six_pass_only_while_the_sixth_is_not_chaotic():
    partly = judge_runs(grid(*[(0, S1)] * 5, (1, S1)), citations_wanted=True)
    assert states(partly) == "→ → → → → <>"
    assert partly.verdict is RunState.CONVERGENT
    chaotic = judge_runs(grid(*[(0, S1)] * 5, (1, S2)), citations_wanted=True)
    assert states(chaotic) == "→ → → → → ×"
    assert chaotic.verdict is RunState.CHAOTIC
    assert chaotic.gate is Gate.FAIL
    strict = judge_runs(grid(*[(0, S1)] * 5, (1, S1)), citations_wanted=True, strict=True)
    assert strict.verdict is RunState.RECURSIVE
    # H = -(5/6 ln 5/6 + 1/6 ln 1/6) = 0.450561, ln 6 = 1.791759
    assert partly.entropy == pytest.approx(0.450561 / 1.791759, abs=1e-5)
    assert partly.low == pytest.approx(0.4365, abs=1e-4)


def test_a_tie_is_told_and_never_passes():
    report = judge_runs(grid(*[(0, S1)] * 3, *[(1, S2)] * 3), citations_wanted=True)
    assert report.tie
    assert states(report) == "→ → → × × ×"
    assert report.verdict is RunState.CHAOTIC
    assert report.entropy == pytest.approx(math.log(2) / math.log(6))
    # 3 + 3 pairs of equal citations, 9 of different ones
    assert report.iou == pytest.approx(6 / 15)


def test_missing_citations_diverge_only_where_snippets_were_given():
    cells = [(0, frozenset())] * 6
    assert judge_runs(grid(*cells), citations_wanted=True).verdict is RunState.DIVERGENT
    without = judge_runs(grid(*cells), citations_wanted=False)
    assert without.verdict is RunState.CONVERGENT
    assert without.iou == NotScored(Reason.NO_CITATIONS)


def test_one_run_that_cites_nothing_is_recursive_two_are_divergent():
    one = judge_runs(grid(*[(0, S1)] * 4, (0, frozenset()), (1, S1)), citations_wanted=True)
    assert states(one) == "→ → → → ← <>"
    assert one.verdict is RunState.RECURSIVE
    assert one.gate is Gate.REVIEW
    two = judge_runs(grid(*[(0, S1)] * 4, *[(0, frozenset())] * 2), citations_wanted=True)
    assert two.verdict is RunState.DIVERGENT


def test_all_refuse_fails_unless_a_refusal_is_right():
    runs = [Answer(i // 2, i % 2, "I cannot say.", cluster=0, refused=True) for i in range(6)]
    assert judge_runs(runs, citations_wanted=True).verdict is RunState.DIVERGENT
    right = judge_runs(runs, citations_wanted=True, refusal_expected=True)
    assert right.verdict is RunState.CONVERGENT
    assert right.gate is Gate.PASS


def test_a_deterministic_sampler_counts_a_form_once_and_cannot_pass():
    report = judge_runs(grid(*[(0, S1)] * 6), citations_wanted=True, deterministic=True)
    assert (report.n, report.seeds_degenerate) == (3, True)
    assert report.low == pytest.approx(0.4385, abs=1e-4)
    assert report.verdict is RunState.CONVERGENT
    assert report.gate is Gate.REVIEW
    assert any("Seeds degenerate" in reason for reason in report.reasons)


def test_a_half_finished_grid_has_no_verdict_but_keeps_its_runs():
    report = judge_runs(grid(*[(0, S1)] * 4), citations_wanted=True)
    assert isinstance(report.verdict, NotScored)
    assert report.gate is Gate.NOT_MEASURED
    assert len(report.runs) == 4
    assert "4 of 6" in report.reasons[0]


def test_nothing_finished():
    report = judge_runs([], citations_wanted=True)
    assert isinstance(report.verdict, NotScored)
    assert isinstance(report.low, NotScored)
    assert isinstance(report.entropy, NotScored)


def test_an_aborted_run_diverges_and_stays_out_of_the_entropy():
    report = judge_runs(grid(*[(0, S1)] * 5, (None, frozenset())), citations_wanted=True)
    assert states(report) == "→ → → → → ←"
    assert report.verdict is RunState.CONVERGENT
    assert report.entropy == 0.0


@pytest.mark.parametrize(
    ("hits", "n", "low"), [(12, 12, 0.7575), (60, 60, 0.9398), (0, 6, 0.0), (3, 6, 0.1876)]
)
def test_wilson_bound(hits, n, low):
    assert wilson_low(hits, n) == pytest.approx(low, abs=1e-4)


def test_entropy_of_all_different_answers_is_one():
    assert semantic_entropy([0, 1, 2, 3]) == pytest.approx(1.0)


def test_iou_counts_a_silent_answer_as_disagreement():
    assert citation_iou([S1, S1 | S2, frozenset()]) == pytest.approx((0.5 + 0 + 0) / 3)


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.integers(0, 3)), st.sampled_from([S1, S2, frozenset()])), max_size=6
    )
)
def test_laws_of_the_verdict(cells):
    runs = grid(*cells)
    report = judge_runs(runs, citations_wanted=True)
    strict = judge_runs(runs, citations_wanted=True, strict=True)
    assert all(run.state is not None for run in report.runs)
    assert len(report.runs) == len(cells)
    if strict.gate is Gate.PASS:
        assert report.gate is Gate.PASS
    if report.gate is Gate.PASS:
        assert report.convergent >= 5
        assert RunState.CHAOTIC not in [run.state for run in report.runs]
    for value in (report.low, report.entropy, report.iou):
        assert isinstance(value, NotScored) or 0.0 <= value <= 1.0


# --- what counts as the same answer ---------------------------------------------------------------------


def cluster(texts: list[str]) -> tuple[int, ...]:
    return clusters_of(same_meaning(texts, embedder=FakeEmbedder()))


def test_equal_words_are_one_cluster_and_a_changed_number_is_not():
    assert cluster(
        ["The cache holds 8192 tokens.", "The cache holds 8192 tokens [s1].", "The cache holds 9000 tokens."]
    ) == (0, 0, 1)


def test_a_negation_splits_answers_that_an_embedder_joins():
    assert cluster(["The cache is reset when it is full.", "The cache is not reset when it is full."]) == (
        0,
        1,
    )


def test_numbers_ignore_citation_marks_and_read_words_and_dates():
    assert numbers_of("It holds three pages [1], [s2] (3).") == numbers_of("It holds 3 pages.")
    assert numbers_of("on 3 May 2024") == numbers_of("2024-05-03")
    assert numbers_of("8 %") != numbers_of("8 km")


def test_polarity():
    assert polarity_of("Yes, it does.")
    assert not polarity_of("No, it does.")
    assert not polarity_of("It does not.")


def test_refusals_are_seen():
    assert is_refusal("I'm sorry, I don't have that information.")
    assert not is_refusal("The tower is 300 m tall.")


def test_empty_answers_are_never_equal_to_others():
    assert cluster(["", "word"]) == (0, 1)


class Entails:
    id = "says yes"

    def entailment(self, pairs):
        import numpy as np

        return np.tile(np.array([[0.0, 0.1, 0.9]], dtype=np.float32), (len(pairs), 1))


def test_entailment_both_ways_joins_far_words_but_not_other_numbers():
    texts = ["The pool closes early.", "Swimming ends before evening.", "The pool closes at 5."]
    near = same_meaning(texts, embedder=FakeEmbedder(), verifier=Entails())
    assert clusters_of(near) == (0, 0, 1)


@given(
    st.lists(
        st.sampled_from(["red fox", "red fox jumps", "blue sea 3", "blue sea 4", "no red fox"]),
        min_size=1,
        max_size=6,
    )
)
def test_clusters_hold_only_equal_pairs(texts):
    near = same_meaning(texts, embedder=FakeEmbedder())
    found = clusters_of(near)
    assert found[0] == 0
    assert sorted(set(found)) == list(range(len(set(found))))
    for i, first in enumerate(found):
        for j, second in enumerate(found):
            if texts[i] == texts[j]:
                assert first == second
            if first == second:
                assert near[i][j] <= 0.2 + 1e-6


# --- successive turns -----------------------------------------------------------------------------------

NONE = NotScored(Reason.NO_SNIPPETS)


@pytest.mark.parametrize(
    ("now", "before", "e_now", "e_before", "conflict", "state"),
    [
        (0.30, None, 0.30, None, False, None),
        (NONE, 0.30, 0.30, 0.30, False, None),
        (0.35, 0.30, 0.31, 0.30, False, "×"),
        (0.30, 0.30, 0.30, 0.30, True, "×"),
        (0.27, 0.30, 0.30, 0.30, False, "→"),
        (0.27, 0.30, 0.31, 0.30, False, "←"),
        (0.30, 0.30, 0.30, 0.30, False, "→"),
        (0.50, 0.50, 0.50, 0.50, False, "<>"),
        (0.53, 0.50, 0.50, 0.50, False, "←"),
        (0.50, 0.50, 0.55, 0.50, False, "←"),
    ],
)
def test_step_table(now, before, e_now, e_before, conflict, state):
    found = lambda_step(now, before, e_now, e_before, anchor_conflict=conflict)
    assert (found.value if found else None) == state


@given(*[st.floats(0, 2) for _ in range(4)])
def test_every_step_with_four_numbers_has_a_state(now, before, e_now, e_before):
    assert lambda_step(now, before, e_now, e_before) in RunState
