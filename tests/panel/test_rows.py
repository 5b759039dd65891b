"""A report as rows: what is missing is said, never shown as 0, and each number has its explanation."""

from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest
from exllama_guard.core.measures import Gate, NotScored, Reason, Zone
from exllama_guard.core.snippets import Origin, Span
from exllama_guard.core.turns import (
    Acted,
    Action,
    ClaimKind,
    ClaimSupport,
    Finish,
    SupportReport,
    Try,
    TurnReport,
)
from exllama_guard.grounding.relevance import load_relevance_weights
from exllama_guard.grounding.scoring import unscored_turn
from exllama_guard.panel.over_time.rows import drift_limit, plot
from exllama_guard.panel.packet import Slot
from exllama_guard.panel.turn.evidence import evidence_row, matching_spans
from exllama_guard.panel.turn.hints import hint
from exllama_guard.panel.turn.markup_acted import acted
from exllama_guard.panel.turn.page import turn_page
from exllama_guard.panel.turn.rows import gauge, glance, measures, number, snippet_rows, why_not
from exllama_guard.panel.turn.rows_acted import acted_row
from exllama_guard.panel.turn.segments import segments
from exllama_guard.panel.words import (
    EXPLANATIONS,
    GATE_TONES,
    GATE_WORDS,
    NAMES,
    REASON_WORDS,
    SETTING_GROUPS,
    SETTING_HINTS,
    SETTINGS_ELSEWHERE,
)
from exllama_guard.probes.measures.resonance import rolling_mean
from exllama_guard.settings import Settings
from exllama_guard.trace.record import record_of, report_of
from hypothesis import given
from hypothesis import strategies as st
from panel.scripted import BAD, GOOD, QUESTION, SNIPPETS, scripted_monitor

SETTINGS = Settings()


def checked(answer: str, snippets: tuple[str, ...] = SNIPPETS) -> TurnReport:
    return scripted_monitor().check_pasted(QUESTION, snippets, answer)


def test_a_failed_answer_shows_its_worst_sentence_and_why_in_one_line():
    row = glance(checked(BAD), SETTINGS)
    assert row.badge.word == "Fail"
    assert row.sentence == "The KV cache is rotated after 4096 tokens."
    assert row.reason == "The answer says 4096, snippet s1 says 8192."
    assert row.support == "0.04"


def test_a_passed_answer_says_what_its_verdict_rests_on():
    row = glance(checked(GOOD), SETTINGS)
    assert (row.badge.word, row.sentence) == ("Pass", "")
    assert row.reason == "All 2 statements are supported by the snippets."


def test_a_carried_answer_that_is_to_review_says_why_and_not_that_all_is_well():
    strict = Settings(relevance_limit=1.0)
    report = scripted_monitor(strict).check_pasted(QUESTION, SNIPPETS, GOOD)
    assert report.support.gate is Gate.PASS
    row = glance(report, strict)
    assert (row.badge.word, row.sentence) == ("Review", "")
    assert row.reason.startswith("The answer may be beside the question")


@pytest.mark.parametrize(
    ("done", "begins"),
    [
        (Action.REPAIR, "Answered again. All 2"),
        (Action.REFUSE, "Not shown in the chat. All 2"),
        (Action.ANNOTATE, "All 2"),
    ],
)
def test_the_line_says_what_was_done_with_the_answer(done, begins):
    acted_on = replace(checked(GOOD), acted=Acted(done, done, "", (), ""))
    assert glance(acted_on, SETTINGS).reason.startswith(begins)


def test_a_long_question_whose_answer_fails_says_that_a_text_inside_it_is_no_snippet():
    report = scripted_monitor().check_pasted(QUESTION, SNIPPETS, BAD)
    found = tuple(replace(snippet, origin=Origin.KNOWLEDGE) for snippet in report.request.snippets)
    asked = replace(report.request, question="A pasted text. " * 20, snippets=found)
    assert "attach it as a file" in hint(replace(report, request=asked))
    assert hint(replace(report, request=replace(asked, question=QUESTION))) == ""
    assert hint(replace(report, request=replace(asked, snippets=report.request.snippets))) == ""
    assert hint(replace(checked(GOOD), request=asked)) == ""


def test_before_the_first_sentence_is_whole_the_line_says_so_instead_of_a_verdict():
    whole = checked(GOOD)
    why = NotScored(Reason.NO_CLAIMS)
    early = replace(whole, finish=Finish.STREAMING, support=SupportReport(why, Gate.NOT_MEASURED))
    row = glance(early, SETTINGS)
    assert (row.badge.word, row.reason) == ("Measuring", "The first sentence is still being written.")


@pytest.mark.parametrize("reason", list(Reason))
def test_what_was_not_measured_is_said_with_its_reason_and_never_shown_as_a_number(reason):
    report = unscored_turn(checked(GOOD).request, "", Finish.COMPLETE, reason)
    rows = measures(report, SETTINGS)
    assert {row.value for row in rows} == {f"not measured: {why_not(NotScored(reason))}"}
    assert {row.badge.word for row in rows if row.badge} == {"Not measured"}
    line = glance(report, SETTINGS)
    assert (line.gauge.value, line.gauge.at, line.support) == ("–", None, "–")


def test_every_word_table_is_complete():
    assert set(GATE_WORDS) == set(GATE_TONES) == set(Gate)
    assert set(REASON_WORDS) <= set(Reason)
    assert set(EXPLANATIONS) == set(NAMES)
    grouped = [name for _, names in SETTING_GROUPS for name in names]
    assert sorted(grouped) == sorted(SETTING_HINTS)
    assert set(grouped) == {field.name for field in fields(Settings)} - set(SETTINGS_ELSEWHERE)


def test_every_number_is_explained_in_words_that_also_say_what_it_does_not_mean():
    for row in measures(checked(BAD), SETTINGS):
        assert row.explanation.count(".") >= 2, row.key


def test_the_limits_of_support_and_relevance_are_told_whether_set_or_fitted():
    fitted = {row.key: row.limits for row in measures(checked(GOOD), SETTINGS)}
    assert re.fullmatch(r"pass ≥ 0\.\d\d–0\.\d\d, fail < 0\.\d\d–0\.\d\d \(fitted\); .*", fitted["support"])
    assert fitted["relevance"] == f"pass ≥ {load_relevance_weights().limit:.2f}"
    own = replace(SETTINGS, support_pass=0.9, support_fail=0.2, relevance_limit=0.3)
    told = {row.key: row.limits for row in measures(checked(GOOD), own)}
    assert told["support"].startswith("pass ≥ 0.90, fail < 0.20")
    assert told["relevance"] == "pass ≥ 0.30"


def test_a_distance_blames_nobody_where_the_reply_is_not_about_the_snippets():
    report = replace(
        checked(BAD),
        support=SupportReport(NotScored(Reason.UNRELATED), Gate.NOT_MEASURED),
        distance_gate=Gate.FAIL,
        zone=Zone.DANGER,
    )
    row = glance(report, SETTINGS).gauge
    assert (row.tone, row.zone) == ("none", Zone.DANGER.value)
    badges = {one.key: one.badge for one in measures(report, SETTINGS)}
    assert badges["question_context"] is None
    assert glance(replace(report, support=checked(BAD).support), SETTINGS).gauge.tone == "fail"


@given(st.floats(0, 2), st.floats(0, 2), st.floats(0, 2))
def test_the_gauge_stays_on_its_scale_and_names_zone_and_limits(value, one, other):
    settings = replace(SETTINGS, distance_pass=min(one, other), distance_fail=max(one, other))
    row = gauge(value, Zone.RISK, settings)
    assert row.at is not None
    assert 0 <= row.accept <= row.reject <= 1
    assert 0 <= row.at <= 1
    assert row.value == f"{value:.2f}"
    assert "risk" in row.spoken
    assert f"{settings.distance_fail:.2f}" in row.spoken


@given(st.text(max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=6))
def test_the_segments_give_back_the_whole_answer_whatever_the_claims_are(answer, places):
    claims = tuple(
        ClaimSupport("x", Span(min(a, b), max(a, b)), ClaimKind.CLAIM, 0.5, Gate.REVIEW) for a, b in places
    )
    report = replace(checked(GOOD), answer=answer, support=SupportReport(0.5, Gate.REVIEW, claims=claims))
    rows = segments(report)
    assert "".join(row.text + row.after for row in rows) == answer
    assert len({row.key for row in rows}) == len(rows)


def test_segments_keep_their_keys_while_the_answer_grows():
    short, whole = checked(BAD[:60]), checked(BAD)
    before = [row.key for row in segments(short)]
    assert [row.key for row in segments(whole)][: len(before) - 1] == before[:-1]


def test_questions_and_greetings_are_shown_but_not_counted():
    last = segments(checked(BAD))[-1]
    assert last.text.endswith("?")
    assert (last.claim, last.badge) == (None, None)


def test_evidence_sets_differing_numbers_against_each_other_and_marks_them_in_the_snippet():
    row = evidence_row(checked(BAD), 0)
    assert row is not None
    assert [(each.answer, each.snippet) for each in row.differences] == [("4096", "8192")]
    assert [piece.text for piece in row.pieces if piece.mark == "differs"] == ["8192"]
    assert "rotated" in [piece.text for piece in row.pieces if piece.mark == "match"]
    assert "".join(piece.text for piece in row.pieces) == SNIPPETS[0]


def test_evidence_of_a_sentence_that_does_not_exist_is_none():
    assert evidence_row(checked(BAD), 99) is None
    assert evidence_row(checked(BAD), -1) is None


@given(st.text(max_size=80), st.text(max_size=80))
def test_matching_spans_lie_in_the_text_in_order_without_overlap(claim, text):
    spans = matching_spans(claim, text, Span(0, len(text)))
    ends = [0, *(span.end for span in spans)]
    assert all(end <= span.start for end, span in zip(ends, spans, strict=False))
    assert all(text[span.start : span.end].casefold() in claim.casefold() for span in spans)


def test_a_long_snippet_is_cut_around_what_matters():
    long = "Filler sentence. " * 400 + SNIPPETS[0] + " Filler sentence." * 400
    report = checked("The KV cache is rotated after 8192 tokens.", (long,))
    row = evidence_row(report, 0)
    assert row is not None
    assert sum(len(piece.text) for piece in row.pieces) < 700


def test_snippets_carry_both_distances_and_say_which_fields_were_derived():
    rows = snippet_rows(checked(GOOD))
    assert [row.snippet_id for row in rows] == ["s1", "s2", "s3"]
    assert all("." in row.to_question and "." in row.to_answer for row in rows)
    assert "offsets" in rows[0].derived


def test_the_rolling_mean_passes_over_turns_without_a_value():
    missing = NotScored(Reason.NO_SNIPPETS)
    assert rolling_mean([missing, 0.2, missing, 0.4], 2)[1:] == [0.2, 0.2, pytest.approx(0.3)]
    assert isinstance(rolling_mean([missing], 5)[0], NotScored)


@given(st.lists(st.floats(0, 2), min_size=1, max_size=30), st.integers(1, 8))
def test_the_rolling_mean_lies_between_the_values_of_its_window(values, window):
    for place, mean in enumerate(rolling_mean(values, window)):
        last = values[max(0, place + 1 - window) : place + 1]
        assert min(last) - 1e-9 <= mean <= max(last) + 1e-9


def test_drift_counts_from_the_first_five_scored_turns_on():
    assert drift_limit([0.1] * 4) == ()
    assert drift_limit([NotScored(Reason.STOPPED), *[0.1] * 5]) == ((pytest.approx(0.2), "drift from"),)


def test_a_plot_places_events_between_turns_and_leaves_gaps_where_nothing_was_measured():
    monitor = scripted_monitor()
    turns = [checked(GOOD), checked(GOOD)]
    old = replace(turns[0], request=replace(turns[0].request, started_at_s=100.0))
    new = replace(
        unscored_turn(old.request, "", Finish.COMPLETE, Reason.TOOL_CALL),
        request=replace(old.request, turn_id="new", started_at_s=300.0),
    )
    event = replace(monitor.snapshot().events[0], at_s=200.0, text="Model changed.")
    row = plot([new, old], [event], SETTINGS)
    assert [mark.before for mark in row.marks] == [1]
    assert [point.value is None for point in row.series[0].points] == [False, True]
    assert number(None) == "not measured"


def acted_on(done: Action, *tries: Try, shown: str = "") -> TurnReport:
    return replace(checked(BAD), acted=Acted(Action.REPAIR, done, "Because it failed.", tries, shown))


def test_both_tries_of_a_repair_are_shown_with_their_support_and_which_one_was_kept():
    first = Try("It is 4096.", 0.04, Gate.FAIL, 0.9, 0.0, kept=False)
    second = Try("It is 8192 [s1].", 0.97, Gate.PASS, NotScored(Reason.NO_QUESTION), 2.5, kept=True)
    row = acted_row(acted_on(Action.REPAIR, first, second).acted)
    assert [(one.name, one.kept, one.badge.word) for one in row.tries] == [
        ("First answer", False, "Fail"),
        ("New try", True, "Pass"),
    ]
    assert row.tries[0].numbers == (("support", "0.04"), ("relevance", "0.90"))
    assert row.tries[1].numbers == (("support", "0.97"), ("took", "2.5 s"))
    shown = acted(row)
    assert shown.count("kept</span>") == 1
    assert "Because it failed." in shown
    of_two = acted_row(acted_on(Action.REPAIR, first, first, second).acted)
    assert [one.name for one in of_two.tries] == ["First answer", "New try 1", "New try 2"]


def test_a_refused_answer_stands_behind_a_disclosure():
    report = acted_on(Action.REFUSE, shown="The documents do not say it.")
    page = turn_page(report, "t.", "", Settings(), latest=True)
    assert page.facts["refused"] is True
    place = next(part.html for part in page.parts if isinstance(part, Slot) and part.id == "t.acted")
    assert "The documents do not say it." in place
    assert "data-act='reveal'" in place
    assert acted_row(None) is None
    assert acted(None) == ""


def test_a_turn_read_back_from_its_trace_keeps_what_was_done_with_it():
    first = Try("It is 4096.", 0.04, Gate.FAIL, 0.9, 0.0, kept=True)
    report = acted_on(Action.ANNOTATE, first, shown="one line")
    again = report_of(record_of(report))
    assert again.acted == report.acted
    assert again.relevance == report.relevance
