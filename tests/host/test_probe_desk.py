"""The probes' desk in the embedded host with the real small model: started, followed, stopped, resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import printed_by

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    program = Path(__file__).with_name("probe_desk_program.py")
    return printed_by(program, tmp_path_factory.mktemp("user_data"), limit_s=500)


def test_the_prompt_holds_what_is_measured_and_offers_what_is_slow(seen):
    assert seen["before any answer"] == "There is no answer yet; ask the model something first."
    assert "λ over 3 forms × 2 seeds: not measured yet" in seen["prompt"]
    assert [offer.split(":")[0] for offer in seen["offers"]] == ["λ", "Quantisation", "Cache stability"]
    assert f"of {seen['n']} runs agree" in seen["prompt with λ"]
    assert [offer.split(":")[0] for offer in seen["offers with λ"]] == ["Quantisation", "Cache stability"]
    assert "Devices and split: not told" not in seen["prompt with λ"]


def test_a_probe_runs_once_is_kept_and_is_no_turn(seen):
    assert (seen["problem"], seen["n"], seen["kept"]) == ("", 6, 6)
    assert seen["second start"] == "A probe is running; stop it first."
    assert seen["turns after probe"] == 1
    assert seen["another reader"]
    assert seen["resumed_s"] < 2.0  # nothing was generated again
    assert "n = 6" in seen["report"]


def test_a_users_turn_waits_for_one_generation_of_a_probe_at_most(seen):
    assert seen["user_first_s"] <= seen["probe_s"] + 3 * seen["user_alone_s"] + 0.5
    assert seen["stopped"]
    assert seen["lock_free"]


def test_a_gold_set_is_answered_by_the_loaded_model(seen):
    assert seen["verified"] == ["", ["PASS"]]
    assert all("8192" in answer for answer in seen["answers"])
    assert "no usable question" in seen["bad gold"]


def test_a_replay_names_the_extension_that_changes_the_prompt(seen):
    assert seen["replay of nothing"].startswith("No other extension")
    problem, lines = seen["replay"]
    assert problem == ""
    assert lines[0] == "With pirate the prompt differs for 1 of 1 questions."
    assert seen["replay λ of"] == [["all off", 2], ["pirate", 2]]
    assert seen["turns of replay"] == 0  # asked by us: no turn of the reader's


def test_the_doctor_reads_with_the_loaded_model_and_leaves_it_as_it_was(seen):
    verdicts = {id_: verdict for id_, (verdict, _) in seen["doctor"].items()}
    assert seen["doctor problem"] == ""
    assert {verdicts[id_] for id_ in ("PC1", "PC4", "PC5", "V5", "EX3", "T5")} == {"PASS"}
    assert verdicts["EX1"] in ("PASS", "REVIEW")  # the small machine's own first run
    assert verdicts["EX2"] == verdicts["EX4"] == "NOT_MEASURED"
    assert all(why for verdict, why in seen["doctor"].values() if verdict == "NOT_MEASURED")
    assert seen["untouched"]
    assert "/nowhere" in seen["bad reference"]


def test_a_later_reading_is_held_against_the_first(seen):
    assert seen["doctor"]["EX5"] == ["NOT_MEASURED", "no baseline yet; this load becomes it"]
    assert seen["changed weights"][0] == "FAIL"
    assert "Mean KL to the baseline" in seen["changed weights"][1]


def test_findings_follow_what_happens(seen):
    before, after = seen["findings"], seen["findings after NaN"]
    assert "EX3" not in before
    assert ["EX3", "FAIL", "NaN or Inf among the logits; the cache must be reset."] in after


def test_without_a_model_it_says_so(seen):
    assert seen["no model"].startswith("No model is loaded")
    assert seen["doctor without model"] == ["NOT_MEASURED", "not measured: no model loaded"]
