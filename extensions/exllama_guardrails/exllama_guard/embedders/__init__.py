"""Embedding models, one adapter a file; the heavy import sits inside."""

from __future__ import annotations

from exllama_guard.embedders.sentence_transformers import SentenceTransformerEmbedder, load_embedder

__all__ = ["SentenceTransformerEmbedder", "load_embedder"]
