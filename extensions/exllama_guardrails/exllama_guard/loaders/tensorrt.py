"""TensorRT-LLM, whose model and cache the WebUI does not hold."""

from __future__ import annotations

from exllama_guard.loaders.loader import MEASURED, Loader, LockPlace
from exllama_guard.loaders.transformers import read_vocabulary

__all__ = ["TENSORRT"]

TENSORRT = Loader(
    name="TensorRT-LLM",
    host_class="",
    adapter=None,
    vocabulary=read_vocabulary,
    lock=LockPlace.NOWHERE,
    sentences=(
        MEASURED,
        "Tool calls can only be checked before they run.",
        "The model's logits and cache cannot be reached.",
    ),
)
