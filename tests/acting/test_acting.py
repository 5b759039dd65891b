"""Decisions and texts: what is done with a report, what is never done, and texts that hold no markup."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from exllama_guard.acting.decision import (
    SUPPORT_NOISE,
    Attempt,
    Way,
    choose,
    decide,
    decide_unchecked,
    repair_snippets,
    standing,
)
from exllama_guard.acting.texts import (
    SAYS_NOT,
    annotation,
    plain,
    refusal,
    repair_message,
    without_annotation,
)
from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.core.snippets import Span, make_snippet
from exllama_guard.core.turns import (
    Action,
    ClaimKind,
    ClaimSupport,
    Finding,
    FindingKind,
    Finish,
    Severity,
    TurnRequest,
)
from exllama_guard.testing import make_monitor
from hypothesis import given
from hypothesis import strategies as st

SNIPPETS = (
    make_snippet("Bananas ripen in warm jungles.", position=0),
    make_snippet("The cache holds 8192 tokens before it rotates.", position=1, source_url="docs/kv.md"),
    make_snippet("A cache rotates when no job runs.", position=2),
)
QUESTION = "How many tokens does the cache hold before it rotates?"
ACTS = {"on_fail": "repair", "on_review": "annotate"}


def report(answer="The cache holds 8192 tokens.", *, snippets=SNIPPETS, question=QUESTION, **changes):
    measured = make_monitor().measure(TurnRequest("t", question, snippets), answer)
    return replace(measured, **changes) if changes else measured


def with_gate(gate, support=0.3, **changes):
    made = report(**changes)
    claims = tuple(replace(c, gate=gate, support=support) for c in made.support.claims)
    return replace(
        made,
        support=replace(made.support, gate=gate, support=support, claims=claims),
        verdict=replace(made.verdict, gate=gate),
    )


def test_the_setting_of_the_verdict_decides():
    assert decide(with_gate(Gate.FAIL), Way(), **ACTS).action is Action.REPAIR
    assert decide(with_gate(Gate.REVIEW), Way(), **ACTS).action is Action.ANNOTATE
    assert decide(with_gate(Gate.PASS), Way(), **ACTS).action is Action.SHOW
    assert decide(with_gate(Gate.FAIL), Way(), on_fail="show", on_review="refuse").wanted is Action.SHOW


@pytest.mark.parametrize(
    "answer",
    ["Hello! How can I help you?", "```python\nprint(8192)\n```", "I am sorry, I cannot answer that.", ""],
)
def test_nothing_is_done_with_an_answer_that_states_nothing(answer):
    from exllama_guard.grounding.support import AnswerScorer

    def scorer(snippets, question):
        return AnswerScorer(snippets, question, None, None)

    monitor = make_monitor(scorer=scorer)
    measured = monitor.measure(TurnRequest("t", QUESTION, SNIPPETS), answer)
    decision = decide(measured, Way(), on_fail="refuse", on_review="refuse")
    assert decision.action is Action.SHOW
    assert decision.wanted is Action.SHOW


@pytest.mark.parametrize(
    ("way", "wanted", "action"),
    [
        (Way(continued=True), "repair", Action.ANNOTATE),
        (Way(continued=True), "refuse", Action.ANNOTATE),
        (Way(tool_turn=True), "repair", Action.ANNOTATE),
        (Way(tool_turn=True), "refuse", Action.REFUSE),
        (Way(sent=True), "refuse", Action.ANNOTATE),
        (Way(notebook=True), "annotate", Action.SHOW),
        (Way(notebook=True), "refuse", Action.REFUSE),
        (Way(notebook=True, continued=True), "refuse", Action.SHOW),
        (Way(bound=True), "refuse", Action.SHOW),
    ],
)
def test_a_way_that_does_not_allow_it_gets_less_and_the_reason(way, wanted, action):
    decision = decide(with_gate(Gate.FAIL), way, on_fail=wanted, on_review="show")
    assert (decision.wanted, decision.action) == (Action(wanted), action)
    assert bool(decision.why) == (action is not decision.wanted)


@pytest.mark.parametrize("finish", [Finish.STOPPED, Finish.DISCONNECTED, Finish.FAILED])
def test_a_reply_that_ended_early_stands(finish):
    assert decide(with_gate(Gate.FAIL, finish=finish), Way(), **ACTS).action is Action.SHOW


def test_json_is_left_alone():
    made = with_gate(Gate.FAIL, answer='{"tokens": 4}')
    assert decide(replace(made, answer='{"tokens": 4}'), Way(), **ACTS).action is Action.SHOW
    assert decide(replace(made, answer="[s1] says so."), Way(), **ACTS).action is Action.REPAIR


def test_the_anchor_comes_first_and_far_snippets_are_left_out():
    made = report()
    far = repair_snippets(made, 0.60)
    assert [s.snippet_id for s in far][:1] == ["s2"]
    assert "s1" not in {s.snippet_id for s in far}
    everything = repair_snippets(made, 2.0)
    assert [s.snippet_id for s in everything] == ["s2", "s1", "s3"]
    given_anchor = replace(made, request=replace(made.request, anchor=SNIPPETS[2]))
    assert repair_snippets(given_anchor, 0.0)[0].snippet_id == "s3"


def test_snippets_that_were_not_scored_stay():
    made = report()
    pair = replace(made.distances.question_context, each=(NotScored(Reason.TOO_MANY),) * 3)
    unscored = replace(made, distances=replace(made.distances, question_context=pair))
    assert [s.snippet_id for s in repair_snippets(unscored)] == ["s1", "s2", "s3"]


def test_the_better_try_is_kept_and_of_equals_the_first():
    fails, reviews, passes = (
        with_gate(g, s) for g, s in ((Gate.FAIL, 0.1), (Gate.REVIEW, 0.4), (Gate.PASS, 0.9))
    )
    assert choose((Attempt("a", fails), Attempt("b", passes)))[0] == 1
    assert choose((Attempt("a", reviews), Attempt("b", fails)))[0] == 0
    assert choose((Attempt("a", fails), Attempt("b", fails)))[0] == 0
    kept, tries = choose((Attempt("a", fails), Attempt("b", None, 1.0, "was stopped"), Attempt("c", reviews)))
    assert kept == 2
    assert [one.kept for one in tries] == [False, False, True]
    assert isinstance(tries[1].support, NotScored)


@pytest.mark.parametrize(
    ("first", "new", "kept"),
    [
        ((Gate.FAIL, 0.20), (Gate.FAIL, 0.21), 0),
        ((Gate.REVIEW, 0.50), (Gate.REVIEW, 0.50 + SUPPORT_NOISE), 0),
        ((Gate.REVIEW, 0.50), (Gate.REVIEW, 0.51 + SUPPORT_NOISE), 1),
        ((Gate.FAIL, 0.44), (Gate.REVIEW, 0.46), 1),
        ((Gate.REVIEW, 0.61), (Gate.FAIL, 0.90), 0),
    ],
)
def test_a_new_try_must_have_a_better_verdict_or_more_support_than_noise(first, new, kept):
    assert choose((Attempt("a", with_gate(*first)), Attempt("b", with_gate(*new))))[0] == kept


def test_small_steps_do_not_add_up_to_a_better_try():
    steps = [with_gate(Gate.REVIEW, 0.50 + 0.08 * step) for step in range(3)]
    assert choose(tuple(Attempt("x", step) for step in steps))[0] == 2  # 0.16 above the first, not 0.08
    assert choose(tuple(Attempt("x", step) for step in steps[:2]))[0] == 0


def test_saying_that_it_is_not_there_is_better_than_failing_and_worse_than_review():
    from exllama_guard.grounding.support import AnswerScorer

    monitor = make_monitor(scorer=lambda snippets, question: AnswerScorer(snippets, question, None, None))
    says_not = monitor.measure(TurnRequest("t", QUESTION, SNIPPETS), SAYS_NOT)
    empty = monitor.measure(TurnRequest("t", QUESTION, SNIPPETS), "")
    order = [empty, with_gate(Gate.FAIL), says_not, with_gate(Gate.REVIEW), with_gate(Gate.PASS)]
    assert [standing(one)[0] for one in order] == sorted(standing(one)[0] for one in order)
    assert standing(says_not)[0] > standing(with_gate(Gate.FAIL))[0]


# --- texts ----------------------------------------------------------------------------------------------

MARKUP = set("<>[]*`#|$\\{}~^&@")


@given(st.text(max_size=300))
def test_a_quoted_text_keeps_no_markup_and_no_line_end(text):
    quoted = plain(text, 80)
    assert len(quoted) <= 80
    assert not MARKUP & set(quoted)
    assert "\n" not in quoted and "\r" not in quoted
    assert "://" not in quoted
    assert not re.search(r"(?<![^\W_])_|_(?![^\W_])", quoted)  # only inside a word, as in a file's name


@given(st.text(max_size=200), st.text(max_size=200))
def test_an_annotated_answer_gets_its_text_back(answer, claim):
    made = with_gate(Gate.FAIL)
    claims = (ClaimSupport(claim, Span(0, 1), ClaimKind.CLAIM, 0.1, Gate.FAIL),)
    made = replace(made, answer=answer, support=replace(made.support, claims=claims))
    line = annotation(made, citations=True)
    assert line.strip("\n`").count("\n") == 0
    back = without_annotation(answer + line)
    assert "Guardrails: " not in back or "Guardrails: " in answer
    if "⚠" not in answer and "```" not in line:
        assert back.rstrip("\n") == answer.rstrip("\n")


def test_a_code_block_that_was_left_open_is_closed_before_the_line():
    made = replace(with_gate(Gate.FAIL), answer="See:\n```python\nx = 1")
    assert annotation(made).startswith("\n```\n\n⚠ Guardrails: ")


def test_the_line_counts_the_statements_and_names_them():
    made = with_gate(Gate.FAIL)
    claim = made.support.claims[0]
    claims = tuple(
        replace(claim, text=f"Statement {n}.", gate=Gate.PASS if n < 3 else Gate.FAIL) for n in range(5)
    )
    made = replace(made, support=replace(made.support, claims=claims))
    assert "2 of 5 statements are not in your documents: “Statement 3.”, “Statement 4.”." in annotation(made)


def test_a_line_in_the_middle_of_a_history_text_goes_too():
    text = "First.\n\n⚠ Guardrails: 1 of 1 statement is not in your documents: “x”.\n\nMore."
    assert without_annotation(text) == "First.\n\nMore."
    assert without_annotation("Nothing here.") == "Nothing here."


def test_a_refusal_names_what_is_missing_and_the_nearest_passages():
    made = with_gate(Gate.FAIL)
    text = refusal(made)
    assert "1 of 1 statement was measured as not supported by what was retrieved:" in text
    lines = text.split("\n")
    assert "- “The cache holds 8192 tokens.” (support 0.30)" in lines
    assert "- “The cache holds 8192 tokens before it rotates.” [s2] kv.md" in lines
    assert "panel" in lines[-1]
    assert without_annotation(text) == text


def test_a_refusal_says_what_contradicts_and_names_an_attached_file():
    made = with_gate(Gate.FAIL)
    attached = make_snippet("The cache holds 4096 tokens.", position=0, section_id="notes.pdf")
    finding = Finding(FindingKind.NUMBER, Severity.CONFLICT, "The answer says 8192; snippet s1 says 4096.")
    claims = tuple(replace(claim, findings=(finding,)) for claim in made.support.claims)
    made = replace(
        made,
        request=replace(made.request, snippets=(attached,)),
        support=replace(made.support, claims=claims),
        distances=replace(
            made.distances, question_context=replace(made.distances.question_context, each=(0.2,))
        ),
    )
    lines = refusal(made).split("\n")
    assert (
        "- “The cache holds 8192 tokens.” (support 0.30: The answer says 8192; snippet s1 says 4096.)"
        in lines
    )
    assert "- “The cache holds 4096 tokens.” [s1] notes.pdf" in lines


@pytest.mark.parametrize(
    ("way", "wanted", "refuse", "action"),
    [
        (Way(), {"refuse", "show"}, False, Action.ANNOTATE),
        (Way(), {"refuse", "annotate"}, True, Action.REFUSE),
        (Way(), {"repair"}, True, Action.ANNOTATE),
        (Way(continued=True), {"refuse"}, True, Action.ANNOTATE),
        (Way(sent=True), {"refuse"}, True, Action.ANNOTATE),
        (Way(notebook=True), {"refuse"}, True, Action.REFUSE),
        (Way(notebook=True), {"refuse"}, False, Action.SHOW),
        (Way(bound=True), {"refuse"}, True, Action.SHOW),
        (Way(), {"show"}, True, Action.SHOW),
    ],
)
def test_without_a_verdict_the_user_has_chosen_which_way_it_falls(way, wanted, refuse, action):
    decision = decide_unchecked("Text.", way, {Action(w) for w in wanted}, "Why.", refuse=refuse)
    assert decision.action is action
    assert decide_unchecked('{"a": 1}', way, {Action.REFUSE}, "Why.", refuse=True).action is Action.SHOW


def test_the_message_of_a_repair_has_ids_passages_and_the_question():
    message = repair_message(QUESTION, SNIPPETS[1:])
    assert message.index("[s2] The cache holds") < message.index("[s3] A cache rotates")
    assert SAYS_NOT in message
    assert message.endswith(f"Question: {QUESTION}")
