"""A model's hash follows its content, not its place; its quantisation is read where it is written."""

from __future__ import annotations

import json
import shutil

import pytest
from exllama_guard.backends.files import model_hash, quantisation, tokenizer_hash
from exllama_guard.core.measures import NotScored


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text("{}", encoding="utf-8")
    (made / "tokenizer.json").write_text("[1]", encoding="utf-8")
    (made / "model-00001-of-00002.safetensors").write_bytes(b"a" * (1 << 21))
    (made / "model-00002-of-00002.safetensors").write_bytes(b"b" * 100)
    return made


def test_a_copy_elsewhere_has_the_same_hash_and_a_readme_changes_nothing(folder, tmp_path):
    before = model_hash(folder)
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "README.md").write_text("hello", encoding="utf-8")
    assert model_hash(copy) == before
    assert len(before) == 64


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b'{"a": 1}'),
        ("tokenizer.json", b"[2]"),
        ("tokenizer_config.json", b"{}"),
        ("model-00001-of-00002.safetensors", b"c" * (1 << 21)),  # first MiB differs
        ("model-00001-of-00002.safetensors", b"a" * ((1 << 21) + 1)),  # size differs
        ("model-00003-of-00003.safetensors", b"x"),
    ],
)
def test_each_part_of_the_content_changes_the_hash(folder, name, content):
    before = model_hash(folder)
    (folder / name).write_bytes(content)
    assert model_hash(folder) != before


def test_what_is_not_there_is_not_scored(folder, tmp_path):
    assert isinstance(model_hash(tmp_path / "nowhere"), NotScored)
    assert isinstance(model_hash(None), NotScored)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    assert isinstance(model_hash(folder), NotScored)
    (folder / "tokenizer.json").unlink()
    missing = tokenizer_hash(folder)
    assert isinstance(missing, NotScored)
    assert "tokenizer.json" in missing.detail


@pytest.mark.parametrize(
    ("config", "label", "bits", "method"),
    [
        (
            {"quantization_config": {"quant_method": "exl2", "bits": 4.0}},
            "exl2 4 bits per weight",
            4.0,
            "exl2",
        ),
        (
            {"quantization_config": {"quant_method": "exl3", "bits": 3.5}},
            "exl3 3.5 bits per weight",
            3.5,
            "exl3",
        ),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
            "bitsandbytes 4 bits per weight",
            4.0,
            "bitsandbytes",
        ),
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8", None, "fp8"),
        ({"torch_dtype": "bfloat16"}, "bfloat16", 16.0, "none"),
        ({}, "unknown", None, None),
        ({"quantization_config": "odd"}, "unknown", None, None),
    ],
)
def test_quantisation_is_read_from_the_configuration(folder, config, label, bits, method):
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    read = quantisation(folder)
    assert (read.label, read.bits, read.method) == (label, bits, method)


@pytest.mark.parametrize(
    ("name", "label", "bits"),
    [
        ("Small.Q4_K_M.gguf", "Q4_K_M", 4.0),
        ("small-iq3_xxs.gguf", "IQ3_XXS", 3.0),
        ("x-F16.gguf", "F16", 16.0),
    ],
)
def test_quantisation_of_a_gguf_is_read_from_its_name(tmp_path, name, label, bits):
    path = tmp_path / name
    path.write_bytes(b"GGUF")
    read = quantisation(path)
    assert (read.label, read.bits, read.method) == (label, bits, "gguf")


def test_a_broken_configuration_is_unknown_not_an_error(folder):
    (folder / "config.json").write_bytes(b"\xff{")
    assert quantisation(folder).label == "unknown"


def test_plain_weights_that_were_unpacked_from_a_gguf_say_so(folder):
    unpacked = folder.rename(folder.with_name("Small-135M.Q4_1-0123456789abcdef"))
    (unpacked / "config.json").write_text('{"dtype": "float32"}', encoding="utf-8")
    read = quantisation(unpacked)
    assert (read.label, read.bits, read.method) == ("float32, unpacked from Q4_1", 32.0, "none")
