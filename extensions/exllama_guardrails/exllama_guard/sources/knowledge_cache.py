"""Vectors kept on disk by the hash of the text that they stand for; plain arrays, no pickle."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from exllama_guard.core.measures import FloatArray
from exllama_guard.core.private_file import replacing
from exllama_guard.errors import SourceError

__all__ = ["VectorCache"]


class VectorCache:
    """One .npz file with a vector for each text's sha256. A missing or damaged file reads as empty."""

    def __init__(self, folder: Path, name: str) -> None:
        """The file for `name` (embedder, splitting, folder) inside `folder`."""
        self._path = folder / f"vectors-{hashlib.sha256(name.encode()).hexdigest()[:24]}.npz"

    @staticmethod
    def key(text: str) -> bytes:
        """32 bytes that stand for `text`."""
        return hashlib.sha256(text.encode("utf-8", "replace")).digest()

    def load(self) -> dict[bytes, FloatArray]:
        """Every stored vector by its key."""
        try:
            with np.load(self._path, allow_pickle=False) as stored:
                keys, vectors = stored["keys"], stored["vectors"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return {}
        if keys.ndim != 2 or vectors.ndim != 2 or len(keys) != len(vectors) or keys.dtype != np.uint8:
            return {}
        rows = np.asarray(vectors, dtype=np.float32)
        return {key.tobytes(): row for key, row in zip(keys, rows, strict=True)}

    def save(self, vectors: Mapping[bytes, FloatArray]) -> None:
        """Replaces the file; the old one is whole where that fails.

        Raises:
            SourceError: It could not be written.
        """
        keys = np.frombuffer(b"".join(vectors), dtype=np.uint8).reshape(len(vectors), -1)
        rows = np.stack(list(vectors.values())) if vectors else np.zeros((0, 0), dtype=np.float32)
        try:
            with replacing(self._path) as file:
                np.savez(file, keys=keys, vectors=rows)
        except OSError as error:
            raise SourceError(
                f"The knowledge folder's vectors cannot be kept ({error.strerror or error}); each start "
                "computes them again. Free space, or name another folder in EXLLAMA_GUARDRAILS_CACHE."
            ) from error
