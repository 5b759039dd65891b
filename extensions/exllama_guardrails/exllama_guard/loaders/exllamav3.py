"""ExLlamaV3 as the WebUI has it: natively, and behind a class of transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exllama_guard.backends import ExLlamaV3Backend, ExLlamaV3HFBackend
from exllama_guard.loaders.loader import BY_FILTER, BY_PROCESSOR, MEASURED, Loader, LockPlace
from exllama_guard.loaders.transformers import read_vocabulary
from exllama_guard.tools.locks import Vocabulary, vocabulary_from_exllamav3

__all__ = ["EXLLAMAV3", "EXLLAMAV3_HF"]


def _vocabulary(model: Any, tokenizer: Any) -> Callable[[], Vocabulary]:  # noqa: ANN401 - the host's
    return lambda: vocabulary_from_exllamav3(model.tokenizer)


EXLLAMAV3 = Loader(
    name="ExLlamav3",
    host_class="Exllamav3Model",
    adapter=ExLlamaV3Backend,
    vocabulary=_vocabulary,
    lock=LockPlace.JOB,
    sentences=(MEASURED, BY_FILTER, "The model, its cache and its page table can be reached."),
)
EXLLAMAV3_HF = Loader(
    name="ExLlamav3_HF",
    host_class="",
    adapter=ExLlamaV3HFBackend,
    vocabulary=read_vocabulary,
    lock=LockPlace.PROCESSOR,
    sentences=(MEASURED, BY_PROCESSOR, "The model's logits and its cache can be reached."),
)
