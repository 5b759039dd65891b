"""The real small model in the embedded host: warm-up, waiting request, canary, NaN, LoRA change, unload."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import printed_by

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    program = Path(__file__).with_name("lifecycle_program.py")
    return printed_by(program, tmp_path_factory.mktemp("user_data"), limit_s=400)


def test_a_request_right_after_a_load_waits_for_the_warm_up_and_is_answered(seen):
    assert "Paris" in seen["answer"]
    assert seen["waited_s"] > 0
    assert seen["runs"] >= 3
    assert seen["state_after_first_answer"] in {"warm", "ready, but its speed did not settle"}
    assert seen["own_cost_s"] < 0.5  # generous on a shared machine; tests/bench/lifecycle.py measures it


def test_probes_are_no_turns_and_no_tokens_of_the_user(seen):
    assert seen["turns"] == 1
    assert seen["tokens"] == seen["expected_tokens"]


def test_the_canary_is_kept_with_the_models_hash_for_its_owner_only(seen):
    assert seen["first_canary"] is None
    assert len(seen["model_hash"]) == 64
    assert seen["file_mode"] == "0o600"
    (hashes,) = seen["hashes"]
    assert f"model {seen['model_hash'][:12]}, tokenizer " in hashes


def test_nan_out_of_the_model_is_told(seen):
    assert any("NaN or Inf" in problem for problem in seen["problems_with_nan"])
    assert seen["hook_adds_one"] == 1


def test_the_stop_button_ends_a_probe_without_a_false_canary(seen):
    assert "Stop button" in seen["stopped"]


def test_a_change_of_lora_has_the_model_warmed_up_again(seen):
    assert seen["warm_ups_after_lora"] == 1


def test_an_unloaded_models_memory_is_free_and_so_is_the_hosts_lock(seen):
    assert seen["freed"]
    assert seen["lock_free"]
