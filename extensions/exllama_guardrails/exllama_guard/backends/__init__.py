"""Loaders, one adapter a file, each saying what it can do."""

from __future__ import annotations

from exllama_guard.backends.bundled import bundled_gguf
from exllama_guard.backends.exllamav2 import ExLlamaV2Backend, ExLlamaV2HFBackend
from exllama_guard.backends.exllamav3 import ExLlamaV3Backend, ExLlamaV3HFBackend
from exllama_guard.backends.files import (
    model_hash,
    quantisation,
    quantisation_in,
    read_json,
    tokenizer_hash,
    weight_files_or_none,
)
from exllama_guard.backends.layout import Layout, Tensor
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
from exllama_guard.backends.start_token import start_ids
from exllama_guard.backends.transformers import TransformersBackend, filled_by
from exllama_guard.backends.weights import read_layout

__all__ = [
    "ExLlamaV2Backend",
    "ExLlamaV2HFBackend",
    "ExLlamaV3Backend",
    "ExLlamaV3HFBackend",
    "Layout",
    "LlamaCppBackend",
    "LoadSettings",
    "LoadedModel",
    "Tensor",
    "TransformersBackend",
    "bundled_gguf",
    "filled_by",
    "forced_logprobs",
    "library_versions",
    "model_hash",
    "quantisation",
    "quantisation_in",
    "read_json",
    "read_layout",
    "reference",
    "start_ids",
    "surroundings",
    "tokenizer_hash",
    "versions_of",
    "weight_files_or_none",
]
