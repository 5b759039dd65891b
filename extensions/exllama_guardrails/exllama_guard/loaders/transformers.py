"""Models of the transformers library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from exllama_guard.backends import TransformersBackend
from exllama_guard.loaders.loader import BY_PROCESSOR, MEASURED, Loader, LockPlace
from exllama_guard.tools.locks import Vocabulary, vocabulary_from_transformers

__all__ = ["TRANSFORMERS", "read_vocabulary"]


def read_vocabulary(model: Any, tokenizer: Any) -> Callable[[], Vocabulary] | None:  # noqa: ANN401 - the host's
    """Reads a tokenizer of transformers; None for any other one."""
    if tokenizer is None or not hasattr(tokenizer, "backend_tokenizer"):
        return None
    listed = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = listed if isinstance(listed, Sequence) else ([] if listed is None else [listed])
    return lambda: vocabulary_from_transformers(tokenizer, ends)


TRANSFORMERS = Loader(
    name="Transformers",
    host_class="",
    adapter=TransformersBackend,
    vocabulary=read_vocabulary,
    lock=LockPlace.PROCESSOR,
    sentences=(MEASURED, BY_PROCESSOR, "The model's logits and cache can be reached."),
)
