"""A model for the command line, without a host: loaded by transformers, held by its adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exllama_guard.backends import LoadedModel, bundled_gguf, reference
from exllama_guard.core.backend import Backend
from exllama_guard.loaders import backend_for
from exllama_guard.standalone.small_model import LoadedModel as SmallModel
from exllama_guard.standalone.small_model import load_small_model

__all__ = ["DirectModel", "open_model"]


@dataclass(frozen=True, slots=True)
class DirectModel:
    """An adapter with its model; `kept` holds what the adapter references weakly."""

    backend: Backend
    kept: SmallModel


def open_model(path: Path | None, report_stage: Callable[[str], None] = lambda text: None) -> DirectModel:
    """The model at `path` (a Hugging Face folder or a GGUF; None: the small one that pip brings).

    Raises:
        UserError: It is missing or unreadable.
    """
    small = load_small_model(path, report_stage)
    loaded = LoadedModel(
        name=small.name,
        loader="Transformers",
        model=reference(small.model),
        tokenizer=reference(small.tokenizer),
        path=bundled_gguf() if path is None else path.expanduser(),
    )
    return DirectModel(backend_for(loaded), small)
