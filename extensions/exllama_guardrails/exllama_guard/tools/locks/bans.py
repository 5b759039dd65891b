"""Tokens that free text must not hold: they begin a call and run on into what its grammar forbids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from exllama_guard.tools.locks.vocabulary import Vocabulary

__all__ = ["NO_TOKENS", "completing", "holding", "running_on"]

NO_TOKENS: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)


def running_on(
    vocabulary: Vocabulary,
    prototype: Any,  # noqa: ANN401 - llguidance.LLMatcher
    pattern: bytes,
    matched: int,
    replayed: bool,
) -> npt.NDArray[np.int64]:
    """Ids of tokens that complete `pattern`, of which `matched` bytes stand, with a forbidden rest."""
    rest = pattern[matched:]
    longer = [
        (text[len(rest) :], token) for text, token in vocabulary.starting_with(rest) if len(text) > len(rest)
    ]
    return _refused(vocabulary, prototype, pattern if replayed else b"", longer)


def holding(
    vocabulary: Vocabulary,
    prototype: Any,  # noqa: ANN401 - llguidance.LLMatcher
    triggers: Sequence[bytes],
) -> npt.NDArray[np.int64]:
    """Tokens that hold a whole trigger followed by what the grammar forbids."""
    out = [NO_TOKENS]
    for trigger in triggers:
        held = [
            (text[text.index(trigger) + len(trigger) :], token)
            for token, text in enumerate(vocabulary.tokens)
            if trigger in text and not text.endswith(trigger)
        ]
        out.append(_refused(vocabulary, prototype, trigger, held))
    return np.unique(np.concatenate(out))


def completing(vocabulary: Vocabulary, marks: Sequence[bytes]) -> dict[bytes, npt.NDArray[np.int64]]:
    """Ids of tokens with which a mark is complete, by the beginning of it that must stand before them."""
    out: dict[bytes, set[int]] = {}
    for mark in marks:
        whole = {token for token, text in enumerate(vocabulary.tokens) if mark in text}
        out.setdefault(b"", set()).update(whole - set(vocabulary.specials.values()))
        for matched in range(1, len(mark)):
            found = {token for _, token in vocabulary.starting_with(mark[matched:])}
            out.setdefault(mark[:matched], set()).update(found)
    return {begun: np.array(sorted(ids), dtype=np.int64) for begun, ids in out.items() if ids}


def _refused(
    vocabulary: Vocabulary,
    prototype: Any,  # noqa: ANN401 - llguidance.LLMatcher
    replay: bytes,
    rests: Sequence[tuple[bytes, int]],
) -> npt.NDArray[np.int64]:
    """Ids of those (rest, id) whose rest the grammar does not allow after `replay`."""
    if not rests:
        return NO_TOKENS
    matcher = prototype.deep_copy()
    if replay and not matcher.consume_tokens(vocabulary.ll_tokenizer.tokenize_bytes(replay)):
        return np.array([token for _, token in rests], dtype=np.int64)
    refused = []
    for rest, token in rests:
        pieces = vocabulary.ll_tokenizer.tokenize_bytes(rest)
        taken = matcher.try_consume_tokens(pieces)
        if taken < len(pieces):
            refused.append(token)
        if taken:
            matcher.rollback(taken)
    return np.array(refused, dtype=np.int64)
