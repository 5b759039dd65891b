"""The doctor on the real small model: as it is, with a wrong RoPE base, with a foreign tokenizer."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from exllama_guard.backends import start_ids
from exllama_guard.commands.doctor import run
from exllama_guard.core.measures import Gate
from exllama_guard.probes.doctor.checkup import checkup_of
from exllama_guard.probes.doctor.detectors.files import plain_english
from exllama_guard.probes.doctor.detectors.prompt import context_length, observe_template, observe_tokens
from exllama_guard.probes.doctor.model_check import check_reading, read_plain_english
from exllama_guard.probes.doctor.model_files import observe_bases, observe_files, observe_weights_beside
from exllama_guard.probes.doctor.prompt_facts import PromptFacts
from exllama_guard.probes.modes.opening import choose_mode

SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """SmolLM2-135M as a Hugging Face folder, made from the GGUF that pip brings."""
    from exllama_guard.backends.bundled import bundled_gguf
    from exllama_guard.standalone.small_model import load_small_model

    load_small_model(None)
    from exllama_guard.core.folders import user_cache_folder

    found = sorted((user_cache_folder() / "models").glob(f"{bundled_gguf().stem}-*/config.json"))
    return found[-1].parent


def variant(source: Path, target: Path, **config: object) -> Path:
    """The same weights with another configuration; None takes a key away."""
    target.mkdir()
    for file in source.iterdir():
        if file.name in SMALL_FILES:
            shutil.copy(file, target / file.name)
        else:
            (target / file.name).symlink_to(file)
    path = target / "config.json"
    settings = json.loads(path.read_text())
    for name, value in config.items():
        settings.pop(name, None) if value is None else settings.update({name: value})
    path.write_text(json.dumps(settings))
    return target


def swap_tokenizer(folder: Path) -> None:
    """Another tokenizer of the same size: the ids of ordinary words are turned around."""
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    vocab = data["model"]["vocab"]
    special = {token["id"] for token in data["added_tokens"]}
    free = sorted(id_ for id_ in vocab.values() if id_ not in special)
    other = dict(zip(free, reversed(free), strict=True))
    data["model"]["vocab"] = {word: other.get(id_, id_) for word, id_ in vocab.items()}
    path.write_text(json.dumps(data), encoding="utf-8")


PLENTY_S = 1800.0  # so that a busy machine reads as much as a quiet one


def read_whole(chosen, reference):
    """What is found by reading as much text as the checks want."""
    return check_reading(chosen, reference, budget_s=PLENTY_S)


def verdicts(observations):
    return {one.symptom.id: one.verdict for one in checkup_of(observations).observations}


# --- files only: fast ------------------------------------------------------------------------------------


def write_model(folder: Path, config: dict[str, object], tokens: int = 0, template: str = "") -> Path:
    """A whole small folder: a byte-level tokenizer of 256 words and so many more, and random weights."""
    import numpy as np
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    words = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {word: id_ for id_, word in enumerate([*words, *(f"w{i}" for i in range(tokens))])}
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    draw = np.random.default_rng(0)
    rows = {"model.embed_tokens.weight": (256, 8), "lm_head.weight": (256, 8), "model.norm.weight": (8,)}
    for layer in range(4):
        rows[f"model.layers.{layer}.self_attn.q_proj.weight"] = (8, 8)
        rows[f"model.layers.{layer}.mlp.up_proj.weight"] = (16, 8)
    values = {name: draw.normal(size=shape).astype(np.float16) for name, shape in rows.items()}
    save_file(values, folder / "model.safetensors", {"format": "pt"})
    if template:
        (folder / "chat_template.jinja").write_text(template)
    return folder


GOOD = {
    "model_type": "llama",
    "rope_theta": 1e5,
    "vocab_size": 256,
    "hidden_size": 8,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 2048,
}
CHAT = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def test_a_clean_folder(tmp_path):
    found = verdicts(observe_files(write_model(tmp_path / "m", GOOD, template=CHAT)))
    assert {found[id_] for id_ in ("PC5", "PC1", "PC4", "P2", "W1", "W2")} == {Gate.PASS}


@pytest.mark.parametrize(
    ("config", "tokens", "template", "id_"),
    [
        ({**GOOD, "rope_theta": 1e4, "rope_parameters": {"rope_theta": 1e5}}, 0, CHAT, "PC5"),
        (GOOD, 1, CHAT, "PC1"),
        (GOOD, 0, CHAT + "{{ '{{ char }}' }}", "PC4"),
        (GOOD, 0, "no message", "PC4"),
        (GOOD, 0, "{{ raise_exception('no') }}", "PC4"),
        (GOOD, 0, "{% for %}", "PC4"),
        ({**GOOD, "num_attention_heads": 3, "head_dim": 4}, 0, CHAT, "W1"),
        ({**GOOD, "num_hidden_layers": 5}, 0, CHAT, "W1"),
        ({**GOOD, "num_hidden_layers": 3}, 0, CHAT, "W1"),
        ({**GOOD, "vocab_size": 300}, 0, CHAT, "W1"),
        ({**GOOD, "quantization_config": {"quant_method": "exl2", "bits": 4}}, 0, CHAT, "W1"),
    ],
)
def test_each_broken_file_is_found(tmp_path, config, tokens, template, id_):
    found = verdicts(observe_files(write_model(tmp_path / "m", config, tokens, template)))
    assert found[id_] is Gate.FAIL
    assert [name for name, verdict in found.items() if verdict is Gate.FAIL] == [id_]


def test_a_folder_without_a_configuration(tmp_path):
    assert verdicts(observe_files(tmp_path))["W1"] is Gate.FAIL


NESTED = {**GOOD, "rope_theta": None, "rope_parameters": {"rope_theta": 1e5, "rope_type": "default"}}


def test_a_folder_of_transformers_5_is_good_but_for_exllamav2(tmp_path):
    folder = write_model(tmp_path / "m", NESTED, template=CHAT)
    assert verdicts(observe_files(folder))["PC5"] is Gate.PASS
    for loader in ("ExLlamav2", "ExLlamav2_HF"):
        assert verdicts(observe_files(folder, loader))["PC5"] is Gate.FAIL
    assert verdicts(observe_files(folder, "Transformers"))["PC5"] is Gate.PASS


def test_bases_are_told_apart_by_kind_of_layer(tmp_path):
    kinds = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}
    gemma = {**GOOD, "model_type": "gemma3_text", "rope_theta": None, "sliding_window": 512}
    good = write_model(tmp_path / "good", {**gemma, "rope_parameters": kinds}, template=CHAT)
    old = {**gemma, "rope_theta": 1e6, "rope_local_base_freq": 1e4}
    older = write_model(tmp_path / "older", old, template=CHAT)
    bad = {**kinds, "sliding_attention": {"rope_theta": 1e6}}
    wrong = write_model(tmp_path / "wrong", {**gemma, "rope_parameters": bad}, template=CHAT)
    assert verdicts(observe_files(good))["PC5"] is Gate.PASS
    assert observe_bases(good, older).verdict is Gate.PASS
    found = observe_bases(wrong, good)
    assert (found.verdict, found.inputs["base"], found.inputs["reference"]) == (Gate.FAIL, 1e6, 1e4)
    assert "sliding attention" in found.evidence
    lost = write_model(tmp_path / "lost", {**gemma, "rope_parameters": kinds, "sliding_window": None})
    assert "sliding_window" in next(
        one.evidence for one in observe_files(lost) if one.verdict is Gate.FAIL and one.symptom.id == "PC5"
    )


# --- weights ---------------------------------------------------------------------------------------------


def change_weights(folder: Path, change) -> Path:
    from safetensors.numpy import load_file, save_file

    path = folder / "model.safetensors"
    values = {name: value.copy() for name, value in load_file(path).items()}
    change(values)
    save_file(values, path, {"format": "pt"})
    return folder


def weights_of(folder: Path, id_: str) -> tuple[Gate, str]:
    found = {one.symptom.id: one for one in checkup_of(observe_files(folder)).observations}
    return found[id_].verdict, found[id_].evidence


Q2 = "model.layers.2.self_attn.q_proj.weight"


def copy_layer(values) -> None:
    for tail in ("self_attn.q_proj.weight", "mlp.up_proj.weight"):
        values[f"model.layers.3.{tail}"] = values[f"model.layers.1.{tail}"]


@pytest.mark.parametrize(
    ("change", "id_", "gate", "words"),
    [
        (lambda v: v[Q2].fill(float("nan")), "W2", Gate.FAIL, "Not finite.*layer 2"),
        (lambda v: v["lm_head.weight"].__setitem__((3, 3), float("inf")), "W2", Gate.FAIL, "lm_head"),
        (lambda v: v[Q2].fill(0.0), "W2", Gate.FAIL, "Layer 2: only zeros"),
        (copy_layer, "W2", Gate.REVIEW, "3 of 1"),
        (lambda v: v.pop(Q2), "W1", Gate.FAIL, "Layer 2 lacks self_attn.q_proj.weight"),
        (lambda v: v.pop("lm_head.weight"), "W1", Gate.FAIL, "no lm_head"),
        (lambda v: v.pop("model.norm.weight"), "W1", Gate.FAIL, "final norm"),
        (lambda v: v.update({Q2: v[Q2].astype("int32")}), "W1", Gate.FAIL, "whole numbers"),
    ],
)
def test_damaged_weights_are_named(tmp_path, change, id_, gate, words):
    import re

    folder = change_weights(write_model(tmp_path / "m", GOOD, template=CHAT), change)
    verdict, evidence = weights_of(folder, id_)
    assert verdict is gate
    assert re.search(words, evidence)
    assert "rope_theta" not in evidence


def test_a_scale_that_is_wrong_stands_out_of_the_layers_beside(tmp_path):
    config = {**GOOD, "num_hidden_layers": 8}

    def more(values) -> None:
        import numpy as np

        draw = np.random.default_rng(1)
        for layer in range(4, 8):
            for tail in ("self_attn.q_proj.weight", "mlp.up_proj.weight"):
                shape = values[f"model.layers.0.{tail}"].shape
                values[f"model.layers.{layer}.{tail}"] = draw.normal(size=shape).astype("float16")

    good = change_weights(write_model(tmp_path / "m", config, template=CHAT), more)
    assert weights_of(good, "W2")[0] is Gate.PASS
    change_weights(good, lambda v: v.update({Q2: v[Q2] * 10}))
    verdict, evidence = weights_of(good, "W2")
    assert verdict is Gate.FAIL
    assert evidence.startswith("Layer 2: self_attn.q_proj.weight")


def test_weights_beside_a_reference_name_the_tensor_that_is_another(tmp_path):
    good = write_model(tmp_path / "good", GOOD, template=CHAT)
    bad = write_model(tmp_path / "bad", GOOD, template=CHAT)
    assert observe_weights_beside(bad, good).verdict is Gate.PASS
    change_weights(bad, lambda v: v.update({Q2: v[Q2][::-1].copy()}))
    found = observe_weights_beside(bad, good)
    assert found.verdict is Gate.FAIL
    assert "layer 2, first " + Q2 in found.evidence


def broken_file(path: Path, how: str) -> None:
    data = path.read_bytes()
    texts = {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "page": b"<!DOCTYPE html><html></html>",
        "noise": bytes(range(256)) * 4,
    }
    path.write_bytes(texts[how])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("cut", "model.safetensors is cut short"),
        ("empty", "model.safetensors is empty"),
        ("pointer", "git lfs pull"),
        ("page", "is a web page"),
        ("noise", "not a safetensors file"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence_and_exit_2(tmp_path, capsys, how, words):
    folder = write_model(tmp_path / "m", GOOD, template=CHAT)
    broken_file(folder / "model.safetensors", how)
    for more in ([], ["--files-only"]):
        assert run(["--model", str(folder), "--json", *more]) == 2
        told = capsys.readouterr()
        assert words in told.err
        assert "Traceback" not in told.err
        assert "W1" in {one["id"] for one in json.loads(told.out)["found"]}


@pytest.mark.parametrize("data", [b"GGUF" + bytes(60), b"GGUF\x03\0\0\0" + b"\xff" * 40, b"no", b""])
def test_a_damaged_gguf_is_one_sentence_and_exit_2(tmp_path, capsys, data):
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    assert run(["--model", str(path)]) == 2
    assert "m.gguf" in capsys.readouterr().err


def test_a_missing_shard_is_named(tmp_path):
    folder = write_model(tmp_path / "m", GOOD, template=CHAT)
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weights_of(folder, "W1") == (
        Gate.FAIL,
        "1 of the weights' files that model.safetensors.index.json names are not there: "
        "model-00002-of-00002.safetensors. Download them from the model's source.",
    )


def test_a_folder_without_weights_or_with_an_adapter_only(tmp_path, capsys):
    folder = write_model(tmp_path / "m", GOOD, template=CHAT)
    (folder / "model.safetensors").unlink()
    assert run(["--model", str(folder)]) == 2
    assert "no weights" in capsys.readouterr().err
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "a/b"}')
    assert weights_of(folder, "W1")[1].startswith("m holds an adapter (LoRA)")


# --- tokenizer and prompt --------------------------------------------------------------------------------


def test_a_tokenizer_that_is_absent_cut_or_loses_its_byte_form(tmp_path):
    folder = write_model(tmp_path / "m", GOOD, template=CHAT)
    path = folder / "tokenizer.json"
    whole = path.read_text()
    path.write_text(json.dumps({**json.loads(whole), "decoder": None}))
    assert "byte form" in weights_of(folder, "PC1")[1]
    path.write_text(whole[:200])
    assert "cut short" in weights_of(folder, "PC1")[1]
    path.unlink()
    assert weights_of(folder, "PC1") == (
        Gate.FAIL,
        "There is no tokenizer (tokenizer.json) in the folder. Copy the tokenizer's files from the model's "
        "own source.",
    )


FACTS = PromptFacts(
    words={"<|im_start|>": 1, "<|im_end|>": 2, "<s>": 3},
    start="<s>",
    end="<|im_end|>",
    start_id=3,
    end_ids=frozenset([2]),
    end_source="generation_config.json",
    template=(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    other={"bos_token": "<s>"},
)


def test_a_good_template_shows_nothing():
    assert observe_template(FACTS).verdict is Gate.PASS
    assert observe_tokens(FACTS).verdict is Gate.PASS


@pytest.mark.parametrize(
    ("facts", "look", "words"),
    [
        (replace(FACTS, template="{{ bos_token }}<s>" + FACTS.template), observe_tokens, "twice"),
        (replace(FACTS, end_ids=frozenset([0])), observe_tokens, "never stops.*Add 2"),
        (replace(FACTS, start_id=1), observe_tokens, "start token"),
        (replace(FACTS, end="<end>"), observe_tokens, "no such token"),
        (
            replace(FACTS, template=FACTS.template.partition("{% if add")[0]),
            observe_template,
            "does not open the reply",
        ),
        (replace(FACTS, template=None), observe_template, "no chat template"),
        (
            replace(FACTS, template="{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}"),
            observe_template,
            "another model",
        ),
        (
            replace(FACTS, template="<s>" + FACTS.template.replace("<|im_", "<|other_")),
            observe_template,
            "another model",
        ),
    ],
)
def test_prompts_that_are_not_the_models_are_named(facts, look, words):
    import re

    found = look(facts)
    assert found.verdict in (Gate.FAIL, Gate.REVIEW)
    assert re.search(words, found.evidence)


def test_a_base_model_needs_no_template():
    base = replace(FACTS, template=None, end="</s>", end_ids=frozenset([3]), name="gemma-3-270m")
    assert observe_template(base).verdict is Gate.NOT_MEASURED
    assert observe_template(replace(base, name="A-1B-Instruct")).verdict is Gate.REVIEW


@pytest.mark.parametrize(
    ("tokens", "base", "scaled", "window", "gate"),
    [
        (8192, 1e5, False, None, Gate.PASS),
        (131_072, 1e5, False, None, Gate.REVIEW),
        (131_072, 1e5, True, None, Gate.PASS),
        (32_768, 1e4, False, 4096, Gate.PASS),  # Mistral 7B 0.1
        (8192, 1e4, False, None, Gate.PASS),  # Gemma 1
        (131_072, 1e6, False, None, Gate.PASS),  # Qwen 2.5
        (None, 1e4, False, None, Gate.NOT_MEASURED),
    ],
)
def test_a_context_that_the_base_cannot_tell_apart(tokens, base, scaled, window, gate):
    assert context_length(tokens, base, scaled, window).verdict is gate


def test_command_files_only(tmp_path, capsys):
    good = write_model(tmp_path / "good", GOOD, template=CHAT)
    bad = write_model(tmp_path / "bad", {**GOOD, "rope_theta": 1e4, "rope_parameters": {"rope_theta": 1e5}})
    assert run(["--model", str(good), "--files-only", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["found"] == []
    assert run(["--model", str(bad), "--files-only"]) == 1
    out = capsys.readouterr().out
    assert "Repair first: PC5, https://github.com/onestardao/WFGY" in out
    assert "EX5" in out.partition("Not measured:")[2]
    assert run(["--model", str(tmp_path / "none")]) == 2
    assert run(["--reference", "x"]) == 2
    assert run(["--traces", str(tmp_path / "none")]) == 2
    assert run(["--traces", str(good)]) == 2


# --- reading with the real model -------------------------------------------------------------------------


@pytest.mark.model
def test_the_model_as_it_is(model_folder):
    reference = choose_mode(f"itself={model_folder}")
    found = {
        one.symptom.id: one
        for one in checkup_of(read_whole(choose_mode(str(model_folder)), reference)).observations
    }
    assert (found["PC5"].verdict, found["PC1"].verdict, found["V5"].verdict) == (Gate.PASS,) * 3, found
    assert found["V5"].inputs["kl"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.model
def test_a_missing_rope_base_is_found_by_reading_alone(model_folder, tmp_path):
    bad = variant(model_folder, tmp_path / "bad", rope_theta=None, rope_parameters=None)
    found = {one.symptom.id: one for one in checkup_of(read_whole(choose_mode(str(bad)), None)).observations}
    assert found["PC5"].verdict is Gate.FAIL
    assert "100000" in found["PC5"].evidence
    assert found["PC1"].verdict is Gate.PASS


@pytest.mark.model
def test_a_wrong_rope_base_is_found_by_reading_and_by_the_reference(model_folder, tmp_path):
    wrong = {"rope_theta": 1e4, "rope_parameters": {"rope_theta": 1e4, "rope_type": "default"}}
    bad = variant(model_folder, tmp_path / "bad", **wrong)
    found = {
        one.symptom.id: one
        for one in checkup_of(
            read_whole(choose_mode(str(bad)), choose_mode(f"{model_folder}@float32"))
        ).observations
    }
    assert found["PC5"].verdict is Gate.FAIL
    assert "100000" in found["PC5"].evidence
    assert found["V5"].verdict in (Gate.REVIEW, Gate.FAIL)
    assert found["V5"].inputs["kl"] > 0.05


@pytest.mark.model
def test_a_base_that_costs_little_is_found_by_reading_long_enough(model_folder, tmp_path):
    bad = variant(
        model_folder,
        tmp_path / "bad",
        rope_theta=5e5,
        rope_parameters={"rope_theta": 5e5, "rope_type": "default"},
    )
    assert verdicts(observe_files(bad))["PC5"] is Gate.PASS  # the files agree with each other
    found = {one.symptom.id: one for one in read_whole(choose_mode(str(bad)), None)}
    assert found["PC5"].verdict is Gate.FAIL
    assert "100000" in found["PC5"].evidence
    assert found["PC1"].verdict is Gate.PASS


@pytest.mark.model
def test_a_wrong_base_is_told_from_the_files_of_a_reference_folder_or_gguf(model_folder, tmp_path):
    from exllama_guard.backends.bundled import bundled_gguf

    bad = variant(model_folder, tmp_path / "bad", rope_theta=None, rope_parameters=None)
    for reference in (model_folder, bundled_gguf()):
        wrong = observe_bases(bad, reference)
        assert (wrong.verdict, wrong.inputs["base"], wrong.inputs["reference"]) == (Gate.FAIL, 1e4, 1e5)
        assert observe_bases(model_folder, reference).verdict is Gate.PASS
    assert observe_bases(bad, tmp_path).verdict is Gate.NOT_MEASURED


def test_command_beside_a_reference_reads_both_files(tmp_path, capsys):
    good = write_model(tmp_path / "good", GOOD, template=CHAT)
    bad = write_model(tmp_path / "bad", {**GOOD, "rope_theta": 5e5}, tokens=3, template=CHAT)
    assert run(["--model", str(good), "--reference", str(good), "--files-only"]) == 0
    assert run(["--model", str(good), "--reference", str(bad), "--files-only"]) == 1
    out = capsys.readouterr().out
    assert "the reference 500000 (by their files)" in out
    assert "The tokenizers' files differ" in out


@pytest.mark.model
def test_a_swapped_tokenizer_is_found_without_and_with_a_reference(model_folder, tmp_path):
    bad = variant(model_folder, tmp_path / "bad")
    swap_tokenizer(bad)
    alone = verdicts(read_whole(choose_mode(str(bad)), None))
    assert alone["PC1"] is Gate.FAIL
    beside = {
        one.symptom.id: one
        for one in read_whole(choose_mode(str(bad)), choose_mode(f"ref={model_folder}"))
        if one.symptom.id == "V5"
    }
    assert "tokenizers differ" in beside["V5"].evidence


def test_a_model_that_cannot_be_loaded_gives_the_reason(tmp_path, capsys):
    folder = write_model(tmp_path / "m", GOOD, template=CHAT)
    (folder / "config.json").write_text(json.dumps({**GOOD, "model_type": "of_tomorrow"}))
    found = read_whole(choose_mode(str(folder)), None)
    assert {one.verdict for one in found} == {Gate.NOT_MEASURED}
    assert "cannot be loaded" in found[0].evidence
    assert run(["--model", str(folder), "--json"]) == 2  # nothing found, and not everything read
    told = capsys.readouterr()
    checks = {(one["id"], one["by"]): one for one in json.loads(told.out)["checks"]}
    assert checks["PC5", "reading"]["state"] == "not read"
    assert "cannot be loaded" in checks["PC5", "reading"]["why"]
    assert "could not be looked at" in told.err


# --- reading, with a model that is written here ----------------------------------------------------------


class Told:
    """A model that tells given log-probabilities and shows no inside."""

    def __init__(self, value: float, opening: tuple[int, ...] = ()) -> None:
        self.value, self.opening, self.read = value, opening, []

    def token_ids(self, text: str) -> tuple[int, ...]:
        return tuple(range(1, 1 + len(text.split())))

    def opening_ids(self) -> tuple[int, ...]:
        return self.opening

    def logprobs(self, ids):
        import numpy as np

        self.read.append(tuple(ids))
        return np.full(len(ids) - 1, self.value, dtype=np.float32)

    distributions = logprobs

    def inside(self) -> None:
        return None

    def filled(self) -> tuple[str, ...]:
        return ()

    def alone(self):
        return nullcontext()


def test_a_model_that_computes_nan_fails_and_costs_no_nan_nats():
    found = {one.symptom.id: one for one in read_plain_english(Told(float("nan")), None)}
    assert found["W2"].verdict is Gate.FAIL
    assert found["W2"].evidence.startswith("Not finite")
    assert found["PC1"].verdict is Gate.NOT_MEASURED
    assert plain_english(float("nan")).verdict is Gate.FAIL


def test_a_text_is_read_with_what_the_tokenizer_puts_before_it():
    model = Told(-2.0, opening=(99,))
    found = {one.symptom.id: one for one in read_plain_english(model, None)}
    assert found["PC1"].verdict is Gate.PASS
    assert model.read[0][0] == 99
    assert found["PC5"].verdict is Gate.NOT_MEASURED
    assert found["PC1"].cost.tokens == len(model.read[0])


def test_start_ids_are_those_of_the_files(tmp_path):
    folder = write_model(tmp_path / "m", GOOD)
    assert start_ids(folder) == ()
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    data["added_tokens"] = [{"id": 7, "content": "<s>"}]
    data["post_processor"] = {
        "type": "Sequence",
        "processors": [{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}]}],
    }
    path.write_text(json.dumps(data))
    assert start_ids(folder) == (7,)
    (folder / "tokenizer_config.json").write_text('{"add_bos_token": false, "bos_token": "<s>"}')
    assert start_ids(folder) == ()
    (folder / "tokenizer_config.json").write_text('{"add_bos_token": true, "bos_token": "<s>"}')
    assert start_ids(folder) == (7,)


@pytest.mark.model
def test_swapped_layers_are_found_and_no_base_is_blamed(model_folder, tmp_path):
    bad = variant(model_folder, tmp_path / "bad")
    from safetensors.torch import load_file, save_file

    path = bad / "model.safetensors"
    values = load_file(path)
    path.unlink()
    for name in [name for name in values if "layers.5." in name]:
        other = name.replace("layers.5.", "layers.20.")
        values[name], values[other] = values[other], values[name]
    save_file(values, path, {"format": "pt"})
    found = checkup_of(read_whole(choose_mode(str(bad)), None))
    named = {one.symptom.id: one for one in found.observations}
    assert named["W2"].verdict is Gate.FAIL
    assert "5 and 20" in named["W2"].evidence
    assert "rope_theta" not in " ".join(one.evidence for one in found.found)
    assert named["PC5"].verdict is Gate.NOT_MEASURED


@pytest.mark.model
def test_a_reading_without_time_says_that_it_was_shortened(model_folder):
    found = check_reading(choose_mode(str(model_folder)), None, budget_s=0.0)
    short = {one.symptom.id: one for one in found if one.cost.shortened}
    assert set(short) == {"PC5", "W2"}
    assert {one.verdict for one in short.values()} == {Gate.NOT_MEASURED}
    states = {one["id"]: one["state"] for one in checkup_of(found).as_json()["checks"] if one["id"] in short}
    assert states == {"PC5": "shortened", "W2": "shortened"}
