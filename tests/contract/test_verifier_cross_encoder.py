from __future__ import annotations

import numpy as np
import pytest
from exllama_guard.errors import VerifierError
from exllama_guard.verifiers import load_verifier
from exllama_guard.verifiers.cross_encoder import CrossEncoderVerifier, nli_columns

WORDS = "the a river bridge is was not long red open closed in 1999 1989 built and of"
PAIRS = [
    ("the bridge was built in 1999", "the bridge was built in 1989"),
    ("the river is long", "the bridge is red"),
    ("the river is long and red", "the river is long"),
]


def save_model(folder, labels):
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join(special + WORDS.split()), encoding="utf-8")
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=32).save_pretrained(folder)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(special) + len(WORDS.split()),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        initializer_range=0.6,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    names = {
        "plain": ["contradiction", "neutral", "entailment"],
        "turned": ["Entailment", "Contradiction", "Neutral"],
        "two": ["entailment", "not_entailment"],
        "mood": ["negative", "positive"],
        "unnamed": ["LABEL_0", "LABEL_1", "LABEL_2"],
    }
    return {name: save_model(root / name, labels) for name, labels in names.items()}


def test_each_row_is_a_distribution_over_contradiction_neutral_and_entailment(models):
    found = CrossEncoderVerifier(models["plain"]).entailment(PAIRS)
    assert found.shape == (3, 3)
    assert found.dtype == np.float32
    assert np.allclose(found.sum(axis=1), 1.0, atol=1e-5)
    assert len({tuple(row) for row in found.round(4).tolist()}) == 3


def test_the_classes_are_read_from_the_model_and_not_from_their_place(models):
    plain = CrossEncoderVerifier(models["plain"]).entailment(PAIRS)
    turned = CrossEncoderVerifier(models["turned"]).entailment(PAIRS)
    assert np.allclose(turned, plain[:, [1, 2, 0]], atol=1e-5)


def test_a_model_of_two_classes_leaves_neutral_empty(models):
    found = CrossEncoderVerifier(models["two"]).entailment(PAIRS)
    assert (found[:, 1] == 0).all()
    assert np.allclose(found.sum(axis=1), 1.0, atol=1e-5)


def test_a_batch_gives_what_single_questions_give_in_their_order(models):
    verifier = CrossEncoderVerifier(models["plain"])
    many = PAIRS * 12
    assert np.allclose(
        verifier.entailment(many), np.concatenate([verifier.entailment([p]) for p in many]), atol=1e-5
    )


def test_text_beyond_the_window_and_empty_text_are_read_without_failing(models):
    found = CrossEncoderVerifier(models["plain"]).entailment(
        [("the river is long " * 200, "the river"), ("", "")]
    )
    assert np.allclose(found.sum(axis=1), 1.0, atol=1e-5)


def test_no_pairs_ask_nothing():
    assert CrossEncoderVerifier("/nowhere").entailment([]).shape == (0, 3)


@pytest.mark.parametrize("name", ["mood", "unnamed"])
def test_a_model_that_is_not_for_inference_is_refused_with_its_classes(models, name):
    with pytest.raises(VerifierError, match="NLI cross-encoder") as caught:
        CrossEncoderVerifier(models[name]).entailment(PAIRS)
    assert ("negative" if name == "mood" else "LABEL_0") in str(caught.value)


def test_a_missing_model_is_told_with_the_remedy(tmp_path):
    with pytest.raises(VerifierError, match="leave the setting 'verifier' empty"):
        CrossEncoderVerifier(str(tmp_path / "absent")).entailment(PAIRS)


def test_a_doubled_class_is_refused():
    with pytest.raises(VerifierError, match="needs"):
        nli_columns({0: "entailment", 1: "entailment", 2: "neutral"}, "odd")


def test_the_setting_gives_the_named_model(models):
    verifier = load_verifier(models["plain"])
    assert verifier is not None
    assert verifier.id == "plain"
