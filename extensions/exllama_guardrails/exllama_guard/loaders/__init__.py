"""The host's loaders: what each is called and what it lets this extension do, one file and one line each."""

from __future__ import annotations

from exllama_guard.loaders.loader import Loader, LockPlace
from exllama_guard.loaders.table import (
    LOADERS,
    backend_for,
    capabilities,
    loader_of,
    promise_on,
    vocabulary_reader,
)

__all__ = [
    "LOADERS",
    "Loader",
    "LockPlace",
    "backend_for",
    "capabilities",
    "loader_of",
    "promise_on",
    "vocabulary_reader",
]
