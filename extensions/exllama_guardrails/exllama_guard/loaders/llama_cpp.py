"""llama.cpp's server, which the WebUI starts as a process of its own."""

from __future__ import annotations

from exllama_guard.backends import LlamaCppBackend
from exllama_guard.loaders.loader import MEASURED, Loader, LockPlace

__all__ = ["LLAMA_CPP"]

LLAMA_CPP = Loader(
    name="llama.cpp",
    host_class="LlamaServer",
    adapter=LlamaCppBackend,
    vocabulary=lambda model, tokenizer: None,  # in the server's process
    lock=LockPlace.REQUEST,
    sentences=(
        MEASURED,
        "Tool schemas can be enforced while the model writes (grammar in the request).",
        "The model runs in a process of its own: its slots can be erased, its logits cannot be reached.",
    ),
)
