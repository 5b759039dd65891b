"""A GGUF as a mode of llama.cpp's server: opened, asked, closed; with a real server where there is one."""

from __future__ import annotations

import threading

import pytest
from contract.llama_server import binary
from exllama_guard.backends.bundled import bundled_gguf
from exllama_guard.core.measures import Gate, NotScored
from exllama_guard.core.snippets import make_snippet
from exllama_guard.errors import BackendError, UserError
from exllama_guard.probes.compare import CompareJob, ModeSource, run_compare
from exllama_guard.probes.generation import Sampling, prompt_for
from exllama_guard.probes.gold import GoldItem
from exllama_guard.probes.measures.comparison import compare_modes
from exllama_guard.probes.modes.llama_cpp import SERVER, LlamaMode, LlamaSpec
from exllama_guard.probes.modes.opening import choose_mode
from exllama_guard.probes.run import Runner
from exllama_guard.testing import FakeEmbedder

real = pytest.mark.skipif(binary() is None, reason="no llama-server on PATH, in LLAMA_SERVER or by pip")
SNIPPETS = (make_snippet("The cache holds 8192 tokens.", position=0),)
ITEMS = tuple(
    GoldItem(f"q{number}", question, SNIPPETS[0], SNIPPETS)
    for number, question in enumerate(
        (
            "How many tokens does the cache hold?",
            "What does the cache hold?",
            "How large is the cache?",
            "What is the size of the cache?",
            "How many tokens fit into the cache?",
        )
    )
)


@pytest.fixture(autouse=True)
def named_server(monkeypatch):
    if binary() is not None:
        monkeypatch.setenv(SERVER, binary())


def test_a_mode_is_chosen_by_its_form(tmp_path):
    file = tmp_path / "m-Q4_1.gguf"
    file.write_bytes(b"GGUF")
    plain, cached = choose_mode(f"{file}@llamacpp"), choose_mode(f"small={file}@llamacpp:q8_0")
    assert (plain.kind, plain.bits, plain.label) == ("weights", 4.0, "m-Q4_1 f16")
    assert (cached.kind, cached.label) == ("kv_cache", "small")
    with pytest.raises(UserError, match="no cache type 'q3'"):
        choose_mode(f"{file}@llamacpp:q3")
    with pytest.raises(UserError, match="is a folder"):
        choose_mode(f"{tmp_path}@llamacpp")


def test_without_a_server_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv(SERVER, str(tmp_path / "none"))
    with pytest.raises(BackendError, match="install llama"):
        LlamaMode(LlamaSpec("m", bundled_gguf()))


@real
def test_a_damaged_file_is_told_with_the_servers_words(tmp_path):
    file = tmp_path / "m.gguf"
    file.write_bytes(b"no GGUF at all")
    with pytest.raises(BackendError, match=r"llama-server ended with \d+"):
        LlamaMode(LlamaSpec("m", file))


@real
def test_it_writes_with_its_template_and_ends_with_the_mode():
    mode = LlamaMode(LlamaSpec("small", bundled_gguf()))
    process = mode._server.process
    try:
        asked = prompt_for(ITEMS[0].question, SNIPPETS)
        greedy = Sampling(0.0, 1.0, 0, 12)
        written, again = (mode.write(asked, greedy, seed, threading.Event()) for seed in (1, 2))
        hot = Sampling(1.5, 1.0, 0, 8)
        first, second, same = (
            mode.write("Say a word.", hot, seed, threading.Event()).text for seed in (1, 2, 1)
        )
        assert isinstance(mode.distributions(mode.token_ids("a b")), NotScored)
    finally:
        mode.close()
    assert "8192" in written.text
    assert written.text == again.text
    assert written.tokens > 0
    assert 0 < written.ttft_s <= written.elapsed_s
    assert first == same != second
    assert process.poll() is not None


@real
def test_types_of_kv_cache_are_compared_with_their_own_speed():
    path = bundled_gguf()
    chosen = [choose_mode(f"f16={path}@llamacpp"), choose_mode(f"q8={path}@llamacpp:q8_0")]
    sources = [ModeSource(one.label, one.kind, one.bits, one.open) for one in chosen]
    job = CompareJob(ITEMS, max_tokens=6, json_cases=False)
    runs = run_compare(job, sources, Runner(), embedder=FakeEmbedder())
    (verdict,) = compare_modes(runs[0], runs[1:])
    assert [run.problem for run in runs] == ["", ""]
    assert isinstance(verdict.speed, float)
    assert isinstance(verdict.logits, NotScored)
    assert verdict.gate in (Gate.PASS, Gate.REVIEW, Gate.NOT_MEASURED)
    assert isinstance(verdict.flip_rate, float)
