"""ExLlamaV2 as WebUI 3.23 has it: natively, and behind a class of transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from exllama_guard.backends import ExLlamaV2Backend, ExLlamaV2HFBackend
from exllama_guard.loaders.loader import BY_FILTER, BY_PROCESSOR, MEASURED, Loader, LockPlace
from exllama_guard.loaders.transformers import read_vocabulary
from exllama_guard.tools.locks import Vocabulary, vocabulary_from_file

__all__ = ["EXLLAMAV2", "EXLLAMAV2_HF"]


def _vocabulary(model: Any, tokenizer: Any) -> Callable[[], Vocabulary]:  # noqa: ANN401 - the host's
    own = model.tokenizer  # the library's, which names the folder that it read
    file = Path(own.config.model_dir) / "tokenizer.json"
    return lambda: vocabulary_from_file(file, [int(own.eos_token_id)])


EXLLAMAV2 = Loader(
    name="ExLlamav2",
    host_class="Exllamav2Model",
    adapter=ExLlamaV2Backend,
    vocabulary=_vocabulary,
    lock=LockPlace.STREAM,
    sentences=(MEASURED, BY_FILTER, "The model and its cache can be reached."),
)
EXLLAMAV2_HF = Loader(
    name="ExLlamav2_HF",
    host_class="",
    adapter=ExLlamaV2HFBackend,
    vocabulary=read_vocabulary,
    lock=LockPlace.PROCESSOR,
    sentences=(MEASURED, BY_PROCESSOR, "The model's logits and its cache can be reached."),
)
