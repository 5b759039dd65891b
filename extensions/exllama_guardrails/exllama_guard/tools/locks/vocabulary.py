"""A tokenizer as a lock needs it: llguidance's own view, the bytes of each token, and a hash."""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from exllama_guard.errors import SchemaError

__all__ = [
    "Vocabulary",
    "byte_vocabulary",
    "vocabulary_from_exllamav3",
    "vocabulary_from_transformers",
    "vocabulary_from_file",
    "vocabulary_from_json",
]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens by id. `tokenizer_hash` is 64 hex digits over the tokenizer's definition."""

    ll_tokenizer: Any  # llguidance.LLTokenizer
    tokens: tuple[bytes, ...]
    tokenizer_hash: str
    eos_ids: tuple[int, ...]
    specials: dict[str, int] = field(repr=False)
    ordered: tuple[tuple[bytes, int], ...] = field(repr=False)
    digit_runs: tuple[npt.NDArray[np.int64], ...] = field(repr=False)  # ids that start with 1, 2, 3 digits
    singles: npt.NDArray[np.int64] = field(repr=False)  # ids of tokens of one byte, and of special ones
    first_bytes: npt.NDArray[np.uint8] = field(repr=False)  # by id; 0 where a token is empty

    @property
    def size(self) -> int:
        """Number of tokens."""
        return len(self.tokens)

    def token_of(self, text: bytes) -> int | None:
        """Id of the first token that is exactly `text`, or None."""
        place = bisect.bisect_left(self.ordered, (text, -1))
        found = self.ordered[place] if place < len(self.ordered) else None
        return found[1] if found is not None and found[0] == text else None

    def special_id(self, text: str) -> int | None:
        """Id of the special token that is spelled `text`, or None."""
        return self.specials.get(text)

    def starting_with(self, prefix: bytes) -> list[tuple[bytes, int]]:
        """(bytes, id) of every token that starts with `prefix`, in byte order."""
        start = bisect.bisect_left(self.ordered, (prefix, -1))
        out = []
        for entry in self.ordered[start:]:
            if not entry[0].startswith(prefix):
                break
            out.append(entry)
        return out


def vocabulary_from_json(text: str, eos_ids: Sequence[int], n_vocab: int | None = None) -> Vocabulary:
    """The vocabulary of a `tokenizer.json`.

    Raises:
        SchemaError: llguidance cannot read it, or is not installed.
    """
    try:
        from llguidance import LLTokenizer
    except ImportError as error:
        raise SchemaError("llguidance is not installed; run `pip install llguidance` and restart.") from error
    try:
        tokenizer = LLTokenizer(_one_byte_form(text), n_vocab=n_vocab, eos_token=list(eos_ids) or None)
    except ValueError as error:
        raise SchemaError(f"llguidance cannot read this tokenizer: {str(error)[:200]}") from error
    digest = hashlib.sha256(
        f"{list(eos_ids)} {n_vocab} ".encode() + text.encode("utf-8", "replace")
    ).hexdigest()
    return of_ll_tokenizer(tokenizer, digest)


_BYTE_LEVEL = ("add_prefix_space", "trim_offsets", "use_regex")  # what its decoder must name; it reads none


def _one_byte_form(text: str) -> str:
    """`text` with its tokens' bytes told in one way.

    transformers 5.17 writes both ways for a GGUF's byte-level tokens: `ByteFallback` beside `ByteLevel` among
    the decoders. llguidance then takes ö for two other characters, and a lock is lost where a ö must come.
    """
    try:
        given = json.loads(text)
        before = given.get("pre_tokenizer") or {}
        steps = [step["type"] for step in before.get("pretokenizers", [before]) if step]
        if "ByteLevel" not in steps or (given.get("decoder") or {}).get("type") == "ByteLevel":
            return text
        given["decoder"] = {"type": "ByteLevel", **dict.fromkeys(_BYTE_LEVEL, True)}
        given["model"]["byte_fallback"] = False
    except (ValueError, KeyError, TypeError, AttributeError):
        return text  # llguidance says what is wrong with it
    return json.dumps(given)


def byte_vocabulary() -> Vocabulary:
    """One token a byte and an end token: enough to say whether a schema can be enforced at all.

    Raises:
        SchemaError: llguidance is not installed.
    """
    try:
        from llguidance import LLTokenizer
    except ImportError as error:
        raise SchemaError("llguidance is not installed; run `pip install llguidance` and restart.") from error
    return of_ll_tokenizer(LLTokenizer("byte"), "bytes")


def of_ll_tokenizer(tokenizer: Any, digest: str) -> Vocabulary:  # noqa: ANN401 - llguidance.LLTokenizer
    """The vocabulary of an llguidance tokenizer that is already built."""
    tokens = tuple(tokenizer.decode_bytes([token]) for token in range(tokenizer.vocab_size))
    specials = {
        tokens[token].decode("utf-8", "replace"): token
        for token in range(tokenizer.vocab_size)
        if tokenizer.is_special_token(token)
    }
    ordered = tuple(sorted((text, token) for token, text in enumerate(tokens)))
    runs = tuple(
        np.array(
            [token for token, text in enumerate(tokens) if text[:length].isdigit() and len(text) >= length]
        )
        for length in (1, 2, 3)
    )
    ends = tuple(tokenizer.eos_tokens)
    singles = [token for token, text in enumerate(tokens) if len(text) == 1]
    return Vocabulary(
        tokenizer,
        tokens,
        digest,
        ends,
        specials,
        ordered,
        tuple(run.astype(np.int64) for run in runs),
        np.array(sorted({*singles, *specials.values()} - set(ends)), dtype=np.int64),
        np.array([text[0] if text else 0 for text in tokens], dtype=np.uint8),
    )


def vocabulary_from_transformers(tokenizer: Any, eos_ids: Sequence[int] = ()) -> Vocabulary:  # noqa: ANN401 - transformers
    """The vocabulary of a fast transformers tokenizer; `eos_ids` adds the model's own end tokens.

    Raises:
        SchemaError: It is not a fast tokenizer, or llguidance cannot read it.
    """
    from copy import copy

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise SchemaError(
            f"{type(tokenizer).__name__} has no tokenizer.json; only fast tokenizers can be locked."
        )
    backend = copy(backend)
    backend.no_padding()
    backend.no_truncation()
    own = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    ends = own + [int(token) for token in eos_ids if int(token) not in own]
    return vocabulary_from_json(backend.to_str(), ends)


def vocabulary_from_file(path: Path, eos_ids: Sequence[int]) -> Vocabulary:
    """The vocabulary of a model folder's `tokenizer.json` (ExLlamaV2 keeps only its own view of it).

    Raises:
        SchemaError: The file is missing or cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SchemaError(
            f"The model has no readable {path.name} at {path.parent}; its calls are checked only."
        ) from error
    return vocabulary_from_json(text, eos_ids)


def vocabulary_from_exllamav3(tokenizer: Any) -> Vocabulary:  # noqa: ANN401 - exllamav3.Tokenizer
    """The vocabulary of an exllamav3 tokenizer (`.tokenizer` is a `tokenizers.Tokenizer`).

    Raises:
        SchemaError: llguidance cannot read it.
    """
    listed = getattr(tokenizer.config, "eos_token_id_list", None) or [tokenizer.eos_token_id]
    return vocabulary_from_json(
        tokenizer.tokenizer.to_str(), [int(token) for token in listed if token is not None]
    )
