"""What a reader gets under each setting of `on_fail`, in the embedded host and in the real WebUIs named."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from contract.acting_texts import FAR, PASSAGE, QUESTION, RIGHT, WRONG
from programs import printed_by
from webui_hosts import hosts

AWAITED = "The check is still being loaded; this answer waits for its verdict."
MARK = "⚠ Guardrails: "
REFUSED = "The model's answer was held back"


@pytest.fixture(scope="module", params=hosts())
def got(request):
    folder, python = request.param
    program = Path(__file__).with_name("acting_program.py")
    results = printed_by(program, folder, python=python)
    for name, result in results.items():
        assert "error" not in result, f"{name}: {result.get('error')}"
        assert result.get("problems", []) == [], name
    return results


def actions(turn):
    return turn["acted"]["wanted"], turn["acted"]["done"]


def test_the_line_is_seen_and_never_enters_the_next_prompt(got):
    turn = got["annotate_page"]
    assert actions(turn) == ("annotate", "annotate")
    assert turn["internal"] == turn["answer"] == WRONG
    assert turn["visible"].count(MARK) == 1
    line = turn["visible"].split("\n\n")[-1]
    assert line.startswith(MARK + "1 of 1 statement is not in your documents")
    assert not set("<>[]*_`#|$\\{}~") & set(line)
    assert WRONG in turn["next_prompt"]
    assert MARK not in turn["next_prompt"]


def test_after_a_regenerate_the_line_is_gone(got):
    assert MARK not in got["annotate_page"]["regenerated"]
    assert got["annotate_page"]["regenerated"] == RIGHT or got["annotate_page"]["regenerated"].startswith(
        RIGHT
    )


def test_an_api_client_gets_the_line_and_what_it_sends_back_enters_no_prompt(got):
    turn = got["annotate_api"]
    assert turn["internal"].startswith(f"{WRONG}\n\n{MARK}")
    assert turn["answer"] == WRONG
    assert f"{WRONG}<|im_end|>" in turn["next_prompt"]
    assert "Guardrails" not in turn["next_prompt"]


def test_a_completion_is_annotated_by_growing(got):
    steps = got["annotate_completion"]["steps"]
    assert steps[-1].startswith(f"{WRONG}\n\n{MARK}")
    assert all(after.startswith(before) for before, after in itertools.pairwise(steps))


def test_a_notebook_gets_no_line_because_its_text_is_its_next_prompt(got):
    turn = got["annotate_notebook"]
    assert actions(turn) == ("annotate", "show")
    assert "next prompt" in turn["acted"]["why"]
    assert "Guardrails" not in turn["last"]


def test_a_refused_answer_is_replaced_and_its_original_is_in_the_report(got):
    turn = got["refuse_page"]
    assert actions(turn) == ("refuse", "refuse")
    assert turn["internal"].startswith(REFUSED) and turn["internal"] == turn["acted"]["shown"]
    assert turn["answer"] == WRONG
    assert PASSAGE in turn["internal"]
    assert "1 of 1 statement was measured as not supported by what was retrieved" in turn["internal"]
    assert "“It paints elephants purple" in turn["internal"]
    assert "panel" in turn["internal"]
    assert "<b>" not in turn["internal"]


def test_what_the_model_thought_stays_before_the_refusal(got):
    assert got["refuse_thinking"]["internal"].startswith(f"<think>hmm</think>{REFUSED}")


def test_a_streamed_answer_that_may_be_refused_is_held_back(got):
    turn = got["refuse_api_streamed"]
    assert not any("elephants" in step and not step.startswith(REFUSED) for step in turn["steps"])
    assert turn["internal"].startswith(REFUSED)


def test_what_was_sent_already_is_annotated_instead(got):
    turn = got["refuse_api_sent"]
    assert actions(turn) == ("refuse", "annotate")
    assert "sent already" in turn["acted"]["why"]
    assert turn["internal"].startswith(f"{WRONG}\n\n{MARK}")


def test_a_whole_response_is_refused(got):
    assert got["refuse_api_whole"]["steps"][-1].startswith(REFUSED)
    assert got["refuse_notebook"]["last"].startswith("The model&#x27;s answer was held back")


def test_without_anything_retrieved_an_answer_streams_as_ever(got):
    turn = got["nothing_retrieved_streams"]
    assert turn["acted"] is None
    assert len({step for step in turn["steps"] if step}) > 3
    assert turn["internal"] == WRONG


def test_a_repair_streams_in_the_answers_place_and_the_better_try_is_kept(got):
    turn = got["repair_page"]
    assert actions(turn) == ("repair", "repair")
    assert turn["internal"] == turn["visible"] == turn["answer"] == RIGHT
    assert any(step and RIGHT.startswith(step) and step != RIGHT for step in turn["steps"])
    first, second = turn["acted"]["tries"]
    assert (first["answer"], first["kept"]) == (WRONG, False)
    assert (second["answer"], second["kept"]) == (RIGHT, True)
    assert second["support"] > first["support"]


def test_while_a_repair_runs_the_page_says_that_it_is_another_try(got):
    turn = got["repair_page"]
    assert turn["doing"] == ["The first answer failed; another one is being written from the passages."]
    assert turn["doing_after"] == ""


def test_a_repair_varies_less_and_rests_on_the_near_snippets_with_the_anchor_first(got):
    turn = got["repair_page"]
    _, again = turn["states"]
    assert again["seed"] == 7
    assert again["do_sample"] is False
    assert f"[s2] {PASSAGE}" in turn["prompt"]
    assert FAR not in turn["prompt"]
    assert "GUARDRAIL_SNIPPETS" not in turn["prompt"]
    assert turn["prompt"].count(QUESTION) == 1


def test_the_repair_of_an_answer_from_an_attachment_has_its_passage_once(got):
    turn = got["repair_attachment"]
    assert turn["internal"] == RIGHT
    assert turn["prompt"].count(PASSAGE) == 1
    assert "ATTACHMENTS" not in turn["prompt"]


def test_a_streamed_api_answer_is_repaired_before_it_is_sent(got):
    turn = got["repair_api_streamed"]
    assert {step for step in turn["steps"] if step} == {RIGHT}
    assert got["repair_whole"]["internal"] == RIGHT


def test_a_completion_is_repaired_in_its_own_prompt(got):
    turn = got["repair_completion"]
    assert turn["steps"][-1] == RIGHT
    assert turn["prompt"].endswith(f"Question: {QUESTION}\nA:")


@pytest.mark.parametrize(
    ("scenario", "why"),
    [
        ("repair_worse", "no new try is clearly better supported"),
        ("repair_empty", "came back empty"),
        ("repair_breaks", "the new try"),  # the WebUI gives what there is, here nothing; ours raises
        ("repair_stopped", "was stopped"),
        ("repair_too_slow", "took longer than 1 s"),
    ],
)
def test_the_first_answer_stands_and_the_report_says_why(got, scenario, why):
    turn = got[scenario]
    assert actions(turn) == ("repair", "show")
    assert turn["internal"] == turn["answer"] == WRONG
    assert turn["finish"] == "complete"
    assert why in turn["acted"]["why"]
    assert [one["kept"] for one in turn["acted"]["tries"]] == [True, False]


def test_the_stop_button_stays_pressed_after_a_repair_that_it_ended(got):
    assert got["repair_stopped"]["flag"] is True
    assert got["repair_too_slow"]["took_s"] < 4


def test_a_second_try_rests_on_the_anchor_alone(got):
    first, second = got["repair_twice"]["prompts"]
    assert PASSAGE in first and PASSAGE in second
    assert FAR not in second


def test_no_repair_starts_while_somebody_else_waits(got):
    turn = got["repair_while_another_waits"]
    assert "somebody else has waited" in turn["why"]
    assert turn["internal"] == turn["other"] == WRONG


def test_two_repairs_at_once_on_a_parallel_loader_keep_apart(got):
    turn = got["repair_in_parallel"]
    assert turn["said"] == [RIGHT, RIGHT]
    assert turn["done"] == ["repair", "repair"]
    assert turn["at_once"] == (2 if turn["parallel"] else 1)


@pytest.mark.parametrize(
    ("scenario", "why"), [("continued", "continues another"), ("with_tools", "turn with tools")]
)
def test_a_continued_answer_and_a_turn_with_tools_are_only_annotated(got, scenario, why):
    turn = got[scenario]
    assert actions(turn) == ("repair", "annotate")
    assert why in turn["acted"]["why"]
    assert turn["acted"]["tries"] == []


@pytest.mark.parametrize("scenario", ["as_json", "under_a_grammar"])
def test_an_answer_of_a_fixed_form_is_left_alone(got, scenario):
    turn = got[scenario]
    assert turn["acted"]["done"] == "show"
    assert turn["internal"] == turn["answer"]


def test_a_stopped_answer_stands(got):
    turn = got["stopped_answer"]
    assert turn["acted"] is None
    assert WRONG.startswith(turn["internal"].strip())


def test_the_first_answer_waits_until_what_judges_it_is_loaded_and_says_so(got):
    turn = got["first_answer_awaits_its_models"]
    assert (turn["doing"], turn["doing_after"]) == ([AWAITED], "")
    assert actions(turn) == ("refuse", "refuse")
    assert turn["internal"].startswith(REFUSED)


def test_over_the_api_the_first_answer_is_held_until_it_is_judged(got):
    turn = got["first_answer_awaits_its_models_held"]
    assert actions(turn) == ("refuse", "refuse")
    assert {step for step in turn["steps"] if step} == {turn["internal"]}
    assert turn["internal"].startswith(REFUSED)


def test_stop_ends_the_wait_for_a_first_verdict(got):
    turn = got["first_answer_stopped"]
    assert actions(turn) == ("refuse", "annotate")
    assert "stopped while it waited" in turn["acted"]["why"]
    assert turn["internal"] == WRONG
    assert "this answer was not checked. It was stopped" in turn["visible"]


def test_an_answer_whose_verdict_is_late_stands_with_a_line_that_says_so(got):
    turn = got["verdict_too_late"]
    assert actions(turn) == ("refuse", "annotate")
    assert "act_wait_ms" in turn["acted"]["why"]
    assert turn["internal"] == WRONG
    assert turn["visible"].count(f"{MARK}this answer was not checked.") == 1


def test_over_the_api_the_line_of_an_unchecked_answer_is_part_of_its_text(got):
    turn = got["verdict_too_late_held"]
    assert actions(turn) == ("refuse", "annotate")
    assert turn["internal"].startswith(f"{WRONG}\n\n{MARK}this answer was not checked.")


@pytest.mark.parametrize("scenario", ["late_and_refused", "late_and_refused_held"])
def test_whoever_wants_it_gets_no_answer_that_was_not_checked(got, scenario):
    turn = got[scenario]
    assert actions(turn) == ("refuse", "refuse")
    assert turn["internal"].startswith(f"{REFUSED}, because it was not checked.")
    assert "panel" in turn["internal"] and "elephants" not in turn["internal"]
    assert turn["answer"] == WRONG


def test_a_late_verdict_says_nothing_where_nothing_was_retrieved_and_breaks_no_json(got):
    turn = got["late_and_nothing_retrieved"]
    assert turn["acted"] is None
    assert turn["internal"] == turn["visible"].replace("&lt;", "<").replace("&gt;", ">") == WRONG
    assert got["late_and_json"]["acted"]["done"] == "show"
    assert got["late_and_json"]["internal"] == '{"colour": "purple"}'


def test_whatever_of_ours_raises_the_first_answer_stands_and_the_panel_says_so(got):
    faults = got["faults"]
    assert {name: texts for name, texts in faults["got"].items() if texts != [WRONG, WRONG]} == {}
    assert len(faults["got"]) == 11
    assert any("ZeroDivisionError" in sentence for sentence in faults["told"])  # the same fault is told once


def test_a_client_that_leaves_ends_the_repair_and_frees_the_lock(got):
    turn = got["client_goes_during_repair"]
    if "skipped" in turn:
        pytest.skip(turn["skipped"])
    assert "stopped" in turn["acted"]["why"]
    assert turn["lock_free"] is True
