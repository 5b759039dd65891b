"""What one of the host's loaders is called, and what it lets this extension do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from exllama_guard.backends import LoadedModel
from exllama_guard.core.backend import Backend
from exllama_guard.tools.locks import Vocabulary

__all__ = ["BY_FILTER", "BY_PROCESSOR", "MEASURED", "Loader", "LockPlace", "ReadVocabulary"]

# (the host's model, the host's tokenizer) → what reads the vocabulary, or None where there is none to read
ReadVocabulary = Callable[[Any, Any], "Callable[[], Vocabulary] | None"]


class LockPlace(str, Enum):
    """Where a loader takes a compiled lock."""

    PROCESSOR = "in the list of logits processors that the host hands to generate"
    REQUEST = "in the request to the loader's server"
    JOB = "in the filters of a job"
    STREAM = "in the filters of a stream that begins"
    NOWHERE = "nowhere"


MEASURED = "ΔS, coverage and support are measured for chat, completions and the API."
BY_PROCESSOR = "Tool schemas can be enforced while the model writes (logits processor and grammar)."
BY_FILTER = "The host's grammar is ignored by this loader; a schema needs the loader's own filters."


@dataclass(frozen=True, slots=True)
class Loader:
    """One loader. `sentences` say what works with it and what cannot, as the Model tab shows them.

    `host_class` is the class of the host's `shared.model` where the host has one of its own for this loader.
    `adapter` is None where neither warm-up nor rotation is possible.
    """

    name: str  # as the host names it (modules.loaders)
    host_class: str
    adapter: Callable[[LoadedModel], Backend] | None
    vocabulary: ReadVocabulary
    lock: LockPlace
    sentences: tuple[str, ...]
