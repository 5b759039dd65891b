"""Loaders, one adapter a file, each saying what it can do."""

from __future__ import annotations

from exllama_guard.backends.bundled import bundled_gguf
from exllama_guard.backends.fake import FakeBackend
from exllama_guard.backends.files import (
    model_hash,
    quantisation,
    read_json,
    tokenizer_hash,
    weight_files_or_none,
)
from exllama_guard.backends.llama_cpp import LlamaCppBackend
from exllama_guard.backends.loaded import (
    LoadedModel,
    LoadSettings,
    library_versions,
    reference,
    surroundings,
    versions_of,
)
from exllama_guard.backends.logits import forced_logprobs
from exllama_guard.core.backend import Backend
from exllama_guard.errors import BackendError

__all__ = [
    "FakeBackend",
    "LlamaCppBackend",
    "LoadSettings",
    "LoadedModel",
    "backend_for",
    "bundled_gguf",
    "forced_logprobs",
    "library_versions",
    "model_hash",
    "quantisation",
    "read_json",
    "reference",
    "surroundings",
    "tokenizer_hash",
    "versions_of",
    "weight_files_or_none",
]


def backend_for(loaded: LoadedModel) -> Backend:
    """The adapter for a loaded model, by the class of its object, else by the loader's name.

    Raises:
        BackendError: No adapter knows this loader; the chat goes on without warm-up and rotation.
    """
    kind = type(loaded.model()).__name__
    if kind == "LlamaServer" or loaded.loader == "llama.cpp":
        from exllama_guard.backends.llama_cpp import LlamaCppBackend

        return LlamaCppBackend(loaded)
    if loaded.loader.startswith("ExLlamav2"):
        from exllama_guard.backends.exllamav2 import ExLlamaV2Backend, ExLlamaV2HFBackend

        return (ExLlamaV2HFBackend if loaded.loader.endswith("_HF") else ExLlamaV2Backend)(loaded)
    if loaded.loader.startswith("ExLlamav3"):
        from exllama_guard.backends.exllamav3 import ExLlamaV3Backend, ExLlamaV3HFBackend

        return (ExLlamaV3HFBackend if loaded.loader.endswith("_HF") else ExLlamaV3Backend)(loaded)
    if loaded.loader == "Transformers":
        from exllama_guard.backends.transformers import TransformersBackend

        return TransformersBackend(loaded)
    raise BackendError(
        f"No adapter knows the loader {loaded.loader}: warm-up and rotation are off for it, the chat is not "
        "affected. They work with Transformers, llama.cpp, ExLlamav2, ExLlamav3 and the _HF forms of both."
    )
