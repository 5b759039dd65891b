"""The searched side of a knowledge folder: snippets, their unit vectors, their words, and their hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from exllama_guard.core.measures import FloatArray
from exllama_guard.core.snippets import Snippet, content_hash
from exllama_guard.sources.knowledge_scale import Scale
from exllama_guard.sources.knowledge_split import CHUNK_SCHEMA
from exllama_guard.sources.knowledge_words import WordIndex

__all__ = ["Index"]

DUPLICATE_COSINE = 0.97  # two snippets this close say the same; the farther one is left out


@dataclass(frozen=True, slots=True)
class Index:
    """Snippets with their vectors, shape (snippets, d), unit rows in the same order, and their words."""

    snippets: tuple[Snippet, ...]
    vectors: FloatArray
    words: WordIndex
    scale: Scale
    index_hash: str
    vectors_hash: str
    by_text: Mapping[str, Snippet]

    @classmethod
    def of(
        cls,
        embedder_id: str,
        snippets: Sequence[Snippet],
        vectors: FloatArray,
        texts: Sequence[str],
        scale: Scale,
    ) -> Index:
        """The index of `snippets` with its two hashes; `texts` are what was embedded for each."""
        named = [f"{snippet.source_url}\n{text}" for snippet, text in zip(snippets, texts, strict=True)]
        recipe_hash = _index_hash(embedder_id, snippets, vectors)
        by_text = {snippet.text: snippet for snippet in reversed(snippets)}
        hashed = _vectors_hash(snippets, vectors)
        return cls(tuple(snippets), vectors, WordIndex.of(named), scale, recipe_hash, hashed, by_text)

    def without_copies(self, rows: Iterable[int], k: int) -> list[int]:
        """At most `k` of `rows` in their order, without near copies of those before them."""
        chosen: list[int] = []
        for row in map(int, rows):
            if len(chosen) == k:
                break
            if not chosen or float(np.max(self.vectors[chosen] @ self.vectors[row])) < DUPLICATE_COSINE:
                chosen.append(row)
        return chosen


def _index_hash(embedder_id: str, snippets: Sequence[Snippet], vectors: FloatArray) -> str:
    """Hash of the index's recipe and corpus (source notes 8.7); what is not known is null."""
    corpus = sorted((snippet.snippet_id, content_hash(snippet.text)) for snippet in snippets)
    recipe = {
        "embed_model": embedder_id,
        "embed_rev": None,
        "dim": int(vectors.shape[1]) if vectors.size else None,
        "normalized": True,
        "metric": "cosine, and share of the words",
        "tokenizer_hash": None,
        "unicode_form": "as in the file",
        "chunk_schema": CHUNK_SCHEMA,
        "store": "numpy, exact search",
        "store_params": {"duplicate_cosine": DUPLICATE_COSINE},
        "corpus_hash": content_hash(json.dumps(corpus, separators=(",", ":"))),
    }
    return content_hash(json.dumps(recipe, sort_keys=True, separators=(",", ":")))


def _vectors_hash(snippets: Sequence[Snippet], vectors: FloatArray) -> str:
    """Hash of the vectors in the order of their snippets' ids, rounded to 1e-5 (source notes 8.7)."""
    order = sorted(range(len(snippets)), key=lambda row: snippets[row].snippet_id)
    rounded = np.round(vectors[order].astype(np.float64) / 1e-5).astype(np.int64)
    return "sha256:" + hashlib.sha256(rounded.tobytes()).hexdigest()
