"""The adapters' contract suite over the real libraries, natively and behind the WebUI's own classes.

Run: GPU_MODELS=gpu-models [WEBUI_3=… WEBUI_4=…] python -m pytest tests/gpu/test_adapters.py
Skipped where there is no GPU, no library, or no folder of models.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available() or "GPU_MODELS" not in os.environ:
    pytest.skip("needs a CUDA GPU and GPU_MODELS, the folder of prepare_models.py", allow_module_level=True)

import sys  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))

import webui_objects  # noqa: E402 - beside this file
from contract import test_backend_contract as contract  # noqa: E402
from exllama_guard.backends.loaded import LoadedModel, LoadSettings, reference  # noqa: E402
from exllama_guard.loaders import backend_for  # noqa: E402
from exllama_guard.probes.generation import Sampling  # noqa: E402
from exllama_guard.probes.modes.exllama import ExLlamaMode  # noqa: E402
from exllama_guard.probes.modes.exllama_open import ExLlamaSpec  # noqa: E402
from together import loaded_of  # noqa: E402

MODELS = Path(os.environ["GPU_MODELS"])
V2, V3 = MODELS / "fp16", MODELS / "exl3-4.0"  # EXL2 itself does not compute the same twice


def _native(library: str, folder: Path):
    spec = ExLlamaSpec(folder.name, folder, library, "fp16", context_tokens=4096)
    mode = ExLlamaMode(spec)

    def write(text: str, n_tokens: int) -> list[int]:
        chunks = [chunk for chunk, _ in mode.stream(text, Sampling(0.0, 1.0, 0, n_tokens), 0)]
        return list(mode.token_ids("".join(chunks)))

    return backend_for(loaded_of(spec, mode.held)), (mode,), write, mode.close


def _webui(version: str, file: str, kind: str, loader: str, folder: Path):
    checkout = Path(os.environ[f"WEBUI_{version}"])
    model = webui_objects.open_webui(checkout, file, kind, folder, cache_type="fp16")
    hf = kind.endswith("HF")
    if hf:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder)
    else:
        tokenizer = model
    loaded = LoadedModel(
        folder.name,
        loader,
        reference(model),
        reference(tokenizer),
        path=folder,
        settings=LoadSettings(cache_type="fp16", context_tokens=4096),
    )

    def write(text: str, n_tokens: int) -> list[int]:
        if hf:
            ids, made = tokenizer.encode(text, add_special_tokens=False), []
            for _ in range(n_tokens):  # as transformers' generate calls the class
                with torch.inference_mode():
                    logits = model(input_ids=torch.tensor([ids + made])).logits[0, -1]
                made.append(int(logits.argmax()))
            return made
        state = {**webui_objects.STATE, "max_new_tokens": n_tokens, "temperature": 0 if version == "4" else 1}
        return list(backend_for(loaded).token_ids(model.generate(text, state)))

    def close() -> None:
        if hasattr(model, "unload"):
            model.unload()

    return backend_for(loaded), (model, tokenizer), write, close


MAKERS = {
    "real exllamav2": lambda: _native("exllamav2", V2),
    "real exllamav3": lambda: _native("exllamav3", V3),
    "webui 3.23 Exllamav2Model": lambda: _webui("3", "exllamav2.py", "Exllamav2Model", "ExLlamav2", V2),
    "webui 3.23 Exllamav2HF": lambda: _webui("3", "exllamav2_hf.py", "Exllamav2HF", "ExLlamav2_HF", V2),
    "webui 4.7.3 Exllamav3Model": lambda: _webui("4", "exllamav3.py", "Exllamav3Model", "ExLlamav3", V3),
    "webui 4.7.3 Exllamav3HF": lambda: _webui("4", "exllamav3_hf.py", "Exllamav3HF", "ExLlamav3_HF", V3),
}


@pytest.fixture(scope="module", params=sorted(MAKERS))
def case(request):
    version = "3" if " 3.23 " in request.param else "4" if " 4.7.3 " in request.param else ""
    if version and f"WEBUI_{version}" not in os.environ:
        pytest.skip(f"name a checkout of the WebUI in WEBUI_{version}")
    backend, kept, write, close = MAKERS[request.param]()
    try:
        yield contract.Case(request.param, backend, kept, write)
    finally:
        close()


for _name, _test in vars(
    contract
).items():  # each test of the suite that takes a case, but not the fake's own
    _pinned = any(
        mark.name == "parametrize" and mark.args[0] == "case" for mark in getattr(_test, "pytestmark", ())
    )
    if (
        _name.startswith("test_")
        and not _pinned
        and "case" in _test.__code__.co_varnames[: _test.__code__.co_argcount]
    ):
        globals()[_name] = _test


def test_greedy_is_the_models_own_continuation(case):
    """By text: a text's tokens may be other ones when it is read again, and 4.7.3 drops the last piece."""
    expected = case.write(contract.PROMPT, 6)
    told = case.backend.greedy(contract.PROMPT, 6)
    assert list(told.ids)[:2] == expected[:2]
