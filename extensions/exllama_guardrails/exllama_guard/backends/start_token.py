"""Which id a tokenizer puts before a text (BOS), as the model's own files say."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exllama_guard.backends.files import read_json
from exllama_guard.backends.gguf_header import read_header

__all__ = ["start_ids"]


def start_ids(path: Path | None) -> tuple[int, ...]:
    """The ids before a text; empty where the files name none, or cannot be read."""
    if path is None:
        return ()
    if path.is_file():
        return _of_gguf(path)
    tokenizer, settings = read_json(path / "tokenizer.json"), read_json(path / "tokenizer_config.json")
    ids = {t.get("content"): t.get("id") for t in tokenizer.get("added_tokens") or () if isinstance(t, dict)}
    told = settings.get("add_bos_token")
    if told is False:
        return ()
    named = settings.get("bos_token")
    word = named.get("content") if isinstance(named, dict) else named
    first = word if told is True else _first_of(tokenizer.get("post_processor"))
    id_ = ids.get(first)
    return (id_,) if isinstance(id_, int) else ()


def _first_of(processor: object) -> str | None:
    """The special token that a template processor writes before a single text."""
    if not isinstance(processor, Mapping):
        return None
    for part in processor.get("processors") or ():
        found = _first_of(part)
        if found:
            return found
    single = processor.get("single")
    first = single[0] if isinstance(single, list) and single else None
    special: Any = first.get("SpecialToken") if isinstance(first, Mapping) else None
    return str(special["id"]) if isinstance(special, Mapping) and "id" in special else None


def _of_gguf(path: Path) -> tuple[int, ...]:
    try:
        told = read_header(path).metadata
    except (ValueError, KeyError, OSError, struct.error):
        return ()
    id_ = told.get("tokenizer.ggml.bos_token_id")
    # llama.cpp adds one for vocabularies of this kind where nothing is told (llama-vocab.cpp).
    adds = told.get("tokenizer.ggml.add_bos_token", told.get("tokenizer.ggml.model") == "llama")
    return (id_,) if adds and isinstance(id_, int) else ()
