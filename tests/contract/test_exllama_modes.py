"""ExLlama modes, the lock's end, the check for reading ahead, over stand-ins of the libraries (tests/gpu)."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "gpu"))

import dry_exllama
from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.errors import BackendError, UserError
from exllama_guard.probes.doctor.causality import check_causality, remedy_of
from exllama_guard.probes.doctor.model_check import read_plain_english
from exllama_guard.probes.generation import GREEDY, Sampling
from exllama_guard.probes.measures.fixed_text import PLAIN_ENGLISH
from exllama_guard.probes.modes.exllama import ExLlamaMode, bits_of, kind_of, read_exllama_precision
from exllama_guard.probes.modes.exllama_open import ExLlamaSpec
from exllama_guard.tools.locks.compiled import compile_plan, plan_answer
from exllama_guard.tools.locks.run import LockRun, Phase
from exllama_guard.tools.locks.vocabulary import vocabulary_from_file
from lock_material import allowed_tokens

SCHEMA = {
    "type": "object",
    "properties": {"a": {"enum": [1, 2]}},
    "required": ["a"],
    "additionalProperties": False,
}
LIBRARIES = ("exllamav2", "exllamav3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of two layers with SmolLM2's tokenizer."""
    import torch
    from exllama_guard.backends.bundled import bundled_gguf
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    made = tmp_path_factory.mktemp("tiny")
    source = bundled_gguf()
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    tokenizer.save_pretrained(made)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, initializer_range=0.5, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(made)
    return made


@pytest.fixture(autouse=True)
def libraries(monkeypatch):
    for name in list(sys.modules):
        if name.partition(".")[0] in LIBRARIES:
            monkeypatch.delitem(sys.modules, name)
    before = set(sys.modules)
    dry_exllama.install()
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in LIBRARIES:
            del sys.modules[name]


@pytest.fixture(params=LIBRARIES)
def mode(request, folder):
    made = ExLlamaMode(ExLlamaSpec("tiny", folder, request.param, "q4", context_tokens=512))
    yield made
    made.close()


def test_a_mode_writes_the_same_for_a_seed_and_another_for_another(mode):
    drawn, cancel = Sampling(0.9, 1.0, 0, 8), threading.Event()
    first, again, other = (mode.write("Who?", drawn, seed, cancel).text for seed in (1, 1, 2))
    assert first == again != other
    greedy = {mode.write("Who?", Sampling(0.0, 1.0, 0, 4), seed, cancel).text for seed in (1, 2)}
    assert len(greedy) == 1
    assert GREEDY.deterministic


def test_distributions_are_those_of_one_reading_and_the_cache_is_left_empty(mode):
    ids = mode.token_ids(PLAIN_ENGLISH)[:20]
    logs = mode.distributions(ids)
    assert logs.shape[0] == len(ids) - 1
    assert np.allclose(np.exp(logs).sum(axis=1), 1.0, atol=1e-3)
    forced = mode.logprobs(ids)
    assert np.allclose(forced, logs[range(len(ids) - 1), list(ids[1:])], atol=1e-3)
    assert isinstance(mode.distributions(ids[:1]), NotScored)


def test_another_cache_or_attention_is_another_writer(folder):
    ids = {
        ExLlamaMode(ExLlamaSpec("x", folder, "exllamav2", cache, sdpa=sdpa)).id
        for cache, sdpa in (("fp16", False), ("q4", False), ("fp16", True))
    }
    assert len(ids) == 3


def test_a_closed_mode_says_so(mode):
    mode.close()
    with pytest.raises(BackendError, match="closed"):
        mode.token_ids("x")


def test_attention_without_a_mask_is_found_and_the_remedy_named(folder):
    seen = ExLlamaMode(ExLlamaSpec("x", folder, "exllamav2", "fp16", 512, sdpa=True))
    clean = ExLlamaMode(ExLlamaSpec("x", folder, "exllamav2", "fp16", 512))
    found = check_causality(seen, "ExLlamav2")
    assert found.verdict is Gate.FAIL
    assert "no_sdpa" in found.evidence
    assert check_causality(clean, "ExLlamav2").verdict is Gate.PASS
    assert "no_sdpa" in remedy_of("ExLlamav2_HF")
    assert "no_sdpa" not in remedy_of("Transformers")


def test_the_doctor_finds_it_on_an_open_model_without_a_reference(folder):
    seen = ExLlamaMode(ExLlamaSpec("x", folder, "exllamav2", "fp16", 512, sdpa=True))
    clean = ExLlamaMode(ExLlamaSpec("x", folder, "exllamav2", "fp16", 512))
    found, rest = (read_plain_english(mode, None) for mode in (seen, clean))
    assert [(one.symptom.id, one.verdict) for one in found if one.verdict is Gate.FAIL][-1] == (
        "V5",
        Gate.FAIL,
    )
    assert not [one for one in rest if one.symptom.id == "V5" and one.verdict is not Gate.NOT_MEASURED]


def test_a_loader_without_log_probabilities_is_not_judged():
    class Mute:
        def token_ids(self, text):
            return tuple(range(200))

        def logprobs(self, ids):
            return NotScored(Reason.NOT_SUPPORTED, "none here")

    assert check_causality(Mute()).verdict is Gate.NOT_MEASURED


def test_forms_of_a_command_line(folder):
    spec = read_exllama_precision("", str(folder), "exllamav2:q6")
    assert (spec.library, spec.cache_type, kind_of(spec), bits_of(spec)) == (
        "exllamav2",
        "q6",
        "kv_cache",
        32.0,
    )
    assert read_exllama_precision("", str(folder), "float32") is None
    with pytest.raises(UserError, match="q5"):
        read_exllama_precision("", str(folder), "exllamav2:q5")
    with pytest.raises(UserError, match="nowhere"):
        read_exllama_precision("", "/nowhere", "exllamav3")


def test_after_a_whole_answer_only_the_end_may_come(letters):
    lock = compile_plan(plan_answer(SCHEMA, ""), letters)
    run = LockRun(lock)
    for byte in b'{"a":1}':
        assert run.mask() is not None
        run.feed(byte)
    assert run.phase is Phase.DONE
    assert set(allowed_tokens(run.mask()).tolist()) == set(letters.eos_ids)


def test_a_locked_reply_of_either_library_is_the_json_and_nothing_behind_it(mode):
    words = vocabulary_from_file(mode.spec.path / "tokenizer.json", [2])
    lock = compile_plan(plan_answer(SCHEMA, ""), words)
    for seed in range(3):
        text = "".join(chunk for chunk, _ in mode.stream("JSON: ", Sampling(0.9, 1.0, 0, 60), seed, lock))
        assert "".join(text.split()) in ('{"a":1}', '{"a":2}')
