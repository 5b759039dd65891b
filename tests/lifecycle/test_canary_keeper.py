"""The canary of a loaded model: compared with the load before, believed once it repeats itself."""

from __future__ import annotations

import pytest
from exllama_guard.lifecycle.canary import CanaryStore
from exllama_guard.lifecycle.fence import FenceState
from exllama_guard.lifecycle.warmup import Run
from lifecycle.world import Model, World, loaded


@pytest.fixture
def model():
    return Model()


def test_the_canary_is_compared_with_the_one_of_the_run_before(model, tmp_path):
    store = CanaryStore(tmp_path / "canaries.json")
    findings = []
    for restart in range(3):
        world = World(store=CanaryStore(tmp_path / "canaries.json"))
        if restart == 2:
            world.host.run = _writing(world.host.run, "something else")
        world.lifecycle.model_changed(loaded(model))
        world.settle()
        findings.append(world.lifecycle.snapshot().canary.same)
    assert findings == [None, True, False]
    assert "writes something else" in world.told.problems["canary"]
    assert world.backend.resets == 1  # a canary mismatch forces a rotation
    assert store.before("0" * 64, "fake").text == "something else"


def test_a_text_that_does_not_repeat_itself_is_noise_and_resets_nothing(model, tmp_path):
    store = CanaryStore(tmp_path / "canaries.json")
    said = []
    for texts in ([], ["something else", "something else", "another", "a third"], ["a third"]):
        world = World(store=store)
        if texts:
            world.host.run = _from_the_canary_on(world.host.run, list(texts))
        world.lifecycle.model_changed(loaded(model))
        world.settle()
        finding = world.lifecycle.snapshot().canary
        said.append(finding.same)
        assert world.backend.resets == 0
        assert "canary" not in world.told.problems
    assert said == [None, None, True]  # the third text was seen as noise of the load before


def test_a_text_that_comes_back_within_the_load_is_no_change(model, tmp_path):
    store = CanaryStore(tmp_path / "canaries.json")
    for texts in ([], ["a rare one", "a rare one", "after Rivers"]):
        world = World(store=store)
        if texts:
            world.host.run = _from_the_canary_on(world.host.run, list(texts))
        world.lifecycle.model_changed(loaded(model))
        world.settle()
    assert world.lifecycle.snapshot().canary.same is True
    assert world.backend.resets == 0


def _from_the_canary_on(run, texts):
    """The first prompt comes twice in a warm-up: its second run is the canary, later ones repeat it."""
    prompts = []

    def changed(prompt, n_tokens, cancel):
        made = run(prompt, n_tokens, cancel)
        prompts.append(prompt)
        if prompt != prompts[0] or len(prompts) == 1:
            return made
        return Run(made.ttft_s, made.elapsed_s, made.tokens, texts.pop(0) if len(texts) > 1 else texts[0])

    return changed


def test_a_busy_model_is_not_asked_again_and_the_finding_says_so(model, tmp_path, monkeypatch):
    monkeypatch.setattr("exllama_guard.lifecycle.canary_keeper._BUSY_S", 0.05)
    for restart in range(2):
        world = World(store=CanaryStore(tmp_path / "canaries.json"))
        if restart:
            world.host.run = _writing(world.host.run, "something else")
            lock = world.host.lock
            world.lifecycle._on_card = lambda card, can, lock=lock: lock.acquire()  # a request is faster
        world.lifecycle.model_changed(loaded(model))
        world.settle()
    assert world.lifecycle.snapshot().canary.same is False
    assert "was not repeated" in world.told.problems["canary"]


def _writing(run, text):
    def changed(prompt, n_tokens, cancel):
        made = run(prompt, n_tokens, cancel)
        return Run(made.ttft_s, made.elapsed_s, made.tokens, text)

    return changed


def test_a_store_that_cannot_be_read_is_told_and_the_model_is_ready_all_the_same(model, tmp_path):
    (tmp_path / "canaries.json").write_text("broken", encoding="utf-8")
    world = World(store=CanaryStore(tmp_path / "canaries.json"))
    world.lifecycle.model_changed(loaded(model))
    world.settle()
    assert world.state() is FenceState.WARM
    assert "set aside" in world.told.problems["canary"]
