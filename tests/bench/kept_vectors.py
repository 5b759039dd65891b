"""An embedder whose vectors stay in a folder between two runs of a bench."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from exllama_guard.core.measures import FloatArray
from exllama_guard.embedders import load_embedder
from exllama_guard.sources.knowledge_cache import VectorCache


class KeptEmbedder:
    """The embedder of a settings value, with every vector that it has made in `folder`."""

    def __init__(self, name: str, folder: Path) -> None:
        self._inner = load_embedder(name)
        self._cache = VectorCache(folder, f"bench {self._inner.id}")
        self._vectors = self._cache.load()

    @property
    def id(self) -> str:
        return self._inner.id

    def embed(self, texts: Sequence[str]) -> FloatArray:
        keys = [VectorCache.key(text) for text in texts]
        pending = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._vectors}
        order = sorted(pending, key=lambda key: len(pending[key]))
        for at in range(0, len(order), 32):
            part = order[at : at + 32]
            made = dict(zip(part, self._inner.embed([pending[key] for key in part]), strict=True))
            self._cache.append(made)
            self._vectors.update(made)
        return np.stack([self._vectors[key] for key in keys])
