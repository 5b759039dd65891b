"""A canary is kept across restarts; a changed one names what changed with it."""

from __future__ import annotations

import stat

import pytest
from exllama_guard.errors import TraceError
from exllama_guard.lifecycle.canary import Canary, CanaryStore, compare, digest_of, recipe_of


def _canary(text: str = "abc", **values) -> Canary:
    given = {"model_hash": "a" * 64, "loader": "Transformers", "versions": {"torch": "2.10"}, **values}
    return Canary(digest=digest_of([text]), text=text, **given)


def test_a_digest_depends_on_each_text_and_their_order():
    assert digest_of(["ab", "c"]) != digest_of(["a", "bc"]) != digest_of(["c", "ab"])
    assert len(digest_of([])) == 64


def test_the_first_canary_is_neither_same_nor_different():
    assert compare(None, _canary()).same is None


def test_the_same_text_is_the_same_canary_whatever_else_changed():
    assert compare(_canary(), _canary(versions={"torch": "3"})).same is True


def test_a_different_text_names_every_recorded_change():
    before = _canary(cache_type="q4", shard_hash="1" * 64)
    now = _canary("xyz", cache_type="fp16", shard_hash="2" * 64, versions={"torch": "2.11", "CUDA": "13"})
    finding = compare(before, now)
    assert finding.same is False
    assert finding.changed == (
        "cache type q4 → fp16",
        "devices or split 111111111111 → 222222222222",
        "CUDA absent → 13",
        "torch 2.10 → 2.11",
    )
    assert "torch 2.10 → 2.11" in finding.sentence()


def test_a_different_text_under_equal_circumstances_says_that_nothing_known_changed():
    assert "nothing that is recorded" in compare(_canary(), _canary("xyz")).sentence()


def test_a_canary_that_was_taken_in_another_way_is_not_compared():
    finding = compare(_canary(recipe="1" * 64), _canary("xyz", recipe="2" * 64))
    assert finding.same is None
    assert "another way" in finding.sentence()


def test_a_recipe_holds_prompt_length_and_sampling_in_any_order():
    plain = recipe_of("p", 10, {"top_k": 1, "add_bos_token": True})
    assert plain == recipe_of("p", 10, {"add_bos_token": True, "top_k": 1})
    others = [("q", 10, {}), ("p", 11, {}), ("p", 10, {"add_bos_token": False, "top_k": 1})]
    assert plain not in {recipe_of(*other) for other in others}


def test_a_model_that_does_not_repeat_itself_gives_no_finding():
    finding = compare(_canary(), _canary("xyz"), ["xyz", "other"])
    assert finding.same is None
    assert "2 different texts in 3 greedy runs" in finding.sentence()


def test_a_text_that_repeats_itself_is_a_finding_and_says_how_often():
    finding = compare(_canary(), _canary("xyz", options={"bf16": "True"}), ["xyz", "xyz"])
    assert finding.same is False
    assert finding.changed == ("bf16 absent → True",)
    assert "3 of 3 runs" in finding.sentence()


def test_a_model_that_still_writes_the_text_of_before_has_not_changed():
    assert compare(_canary(), _canary("xyz"), ["abc", "xyz"]).same is True


def test_a_text_that_was_seen_as_noise_before_is_no_change():
    assert compare(_canary(variants=(digest_of(["xyz"]),)), _canary("xyz")).same is True


def test_a_canary_survives_a_restart_in_a_file_that_only_its_owner_reads(tmp_path):
    path = tmp_path / "deep" / "canaries.json"
    CanaryStore(path).keep(_canary())
    CanaryStore(path).keep(_canary("other", loader="llama.cpp"))
    again = CanaryStore(path)
    assert again.before("a" * 64, "Transformers") == _canary()
    assert again.before("a" * 64, "llama.cpp").text == "other"
    assert again.before("b" * 64, "Transformers") is None
    assert again.before("a" * 64, "Transformers", ("lora",)) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "content",
    [
        '{"canaries": [{"loras": 1}]}',
        "",
        "[]",
        "{}",
        '{"canaries": [{"loader": 3}]}',
        '{"canaries": [1]}',
        "\0",
    ],
)
def test_an_unreadable_file_is_set_aside_and_the_next_load_starts_anew(tmp_path, content):
    path = tmp_path / "canaries.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TraceError, match="set aside"):
        CanaryStore(path).before("a", "b")
    assert CanaryStore(path).before("a", "b") is None
    CanaryStore(path).keep(_canary())
    assert CanaryStore(path).before("a" * 64, "Transformers") == _canary()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(TraceError, match="writable"):
        CanaryStore(tmp_path / "file" / "canaries.json").keep(_canary())
