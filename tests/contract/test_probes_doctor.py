"""The doctor on the real small model: as it is, with a wrong RoPE base, with a foreign tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from exllama_guard.commands.doctor import run
from exllama_guard.core.measures import Gate
from exllama_guard.probes.doctor.checkup import checkup_of
from exllama_guard.probes.doctor.model_check import check_reading
from exllama_guard.probes.doctor.model_files import observe_bases, observe_files
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


def verdicts(observations):
    return {one.symptom.id: one.verdict for one in checkup_of(observations).observations}


# --- files only: fast ------------------------------------------------------------------------------------


def write_model(folder: Path, config: dict[str, object], tokens: int = 4, template: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    vocab = {f"w{i}": i for i in range(tokens)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}, "added_tokens": []}))
    if template:
        (folder / "chat_template.jinja").write_text(template)
    return folder


GOOD = {"model_type": "llama", "rope_theta": 1e5, "vocab_size": 4}
CHAT = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def test_a_clean_folder(tmp_path):
    found = verdicts(observe_files(write_model(tmp_path / "m", GOOD, template=CHAT)))
    assert (found["PC5"], found["PC1"], found["PC4"]) == (Gate.PASS,) * 3


@pytest.mark.parametrize(
    ("config", "tokens", "template", "id_"),
    [
        ({**GOOD, "rope_theta": None, "rope_parameters": {"rope_theta": 1e5}}, 4, CHAT, "PC5"),
        ({**GOOD, "rope_theta": 1e4, "rope_parameters": {"rope_theta": 1e5}}, 4, CHAT, "PC5"),
        (GOOD, 5, CHAT, "PC1"),
        (GOOD, 4, CHAT + "{{ '{{ char }}' }}", "PC4"),
        (GOOD, 4, "no message", "PC4"),
        (GOOD, 4, "{{ raise_exception('no') }}", "PC4"),
        (GOOD, 4, "{% for %}", "PC4"),
    ],
)
def test_each_broken_file_is_found(tmp_path, config, tokens, template, id_):
    found = verdicts(observe_files(write_model(tmp_path / "m", config, tokens, template)))
    assert found[id_] is Gate.FAIL
    assert [name for name, verdict in found.items() if verdict is Gate.FAIL] == [id_]


def test_a_folder_without_a_configuration(tmp_path):
    assert verdicts(observe_files(tmp_path))["PC5"] is Gate.FAIL


def test_command_files_only(tmp_path, capsys):
    good = write_model(tmp_path / "good", GOOD, template=CHAT)
    bad = write_model(tmp_path / "bad", {**GOOD, "rope_theta": None, "rope_parameters": {"rope_theta": 1e5}})
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
        for one in checkup_of(check_reading(choose_mode(str(model_folder)), reference)).observations
    }
    assert (found["PC5"].verdict, found["PC1"].verdict, found["V5"].verdict) == (Gate.PASS,) * 3, found
    assert found["V5"].inputs["kl"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.model
def test_a_missing_rope_base_is_found_by_reading_alone(model_folder, tmp_path):
    bad = variant(model_folder, tmp_path / "bad", rope_theta=None, rope_parameters=None)
    found = {
        one.symptom.id: one for one in checkup_of(check_reading(choose_mode(str(bad)), None)).observations
    }
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
            check_reading(choose_mode(str(bad)), choose_mode(f"{model_folder}@float32"))
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
    found = {one.symptom.id: one for one in check_reading(choose_mode(str(bad)), None)}
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
    alone = verdicts(check_reading(choose_mode(str(bad)), None))
    assert alone["PC1"] is Gate.FAIL
    beside = {
        one.symptom.id: one
        for one in check_reading(choose_mode(str(bad)), choose_mode(f"ref={model_folder}"))
        if one.symptom.id == "V5"
    }
    assert "tokenizers differ" in beside["V5"].evidence


@pytest.mark.model
def test_a_model_that_cannot_be_loaded_gives_the_reason(tmp_path):
    folder = write_model(tmp_path / "m", GOOD)
    found = check_reading(choose_mode(str(folder)), None)
    assert {one.verdict for one in found} == {Gate.NOT_MEASURED}
    assert "cannot be loaded" in found[0].evidence
