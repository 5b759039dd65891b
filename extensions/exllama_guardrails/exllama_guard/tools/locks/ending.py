"""The shortest end of what a matcher has begun, in tokens.

llguidance knows what may come next, not how far the end is (1.9.1). So the end is looked for on a copy of its
matcher, which costs about 1 µs to make: what closes comes first, what opens comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt

from exllama_guard.tools.locks.vocabulary import Vocabulary

__all__ = ["shortest_end"]

# Tokens tried on the way to an end. Schemas whose shortest value is longer are not closed.
_MOST_TOKENS = 600

# By byte: how soon it leads to an end, soonest lowest; 3 for all that are not named.
_RANKS = np.full(256, 3)
for _rank, _bytes in enumerate((b"}])", b"\"'</>", b",", b"", b"-.", b"{[(\\", b" \n\t\r")):
    _RANKS[list(_bytes)] = _rank
_DELIMITERS = b"\"<'"
_LETTER = ord("z")


def shortest_end(
    matcher: Any,  # noqa: ANN401 - llguidance.LLMatcher
    vocabulary: Vocabulary,
    text_ends: Sequence[bytes] = (),
) -> list[int] | None:
    """Tokens that complete what `matcher` has begun, about as few as can be; None where no end is found.

    Args:
        matcher: Where the reply stands; it is not moved.
        vocabulary: The tokens.
        text_ends: What ends texts that may hold anything else.
    """
    scout = matcher.deep_copy()
    path: list[int] = []
    while not scout.is_accepting():
        step = scout.compute_ff_tokens() or _soonest(scout, path, vocabulary, text_ends)
        path += step
        if not step or len(path) > _MOST_TOKENS or not scout.consume_tokens(step):
            return None
    return _as_written(path, matcher, vocabulary)


def _soonest(
    scout: Any,  # noqa: ANN401 - llguidance.LLMatcher
    path: list[int],
    vocabulary: Vocabulary,
    text_ends: Sequence[bytes],
) -> list[int]:
    """The permitted tokens that lead to an end soonest: by rank, then the one not just chosen.

    Taking turns brings each letter of a pattern such as `^[a-z]+q$` to its turn. Empty: none is permitted.
    """
    allowed, first = _singles(scout, vocabulary)
    if not allowed.size:  # no single byte may come: the shortest of the others
        bits = np.unpackbits(np.frombuffer(scout.compute_bitmask(), np.uint8), bitorder="little")
        others = np.flatnonzero(bits[: vocabulary.size]).tolist()
        return [min(others, key=lambda token: len(vocabulary.tokens[token]))] if others else []
    ranks = _RANKS[first]
    if _LETTER in first:  # inside a text, where brackets are only letters
        ends = [[token] for delimiter in _DELIMITERS for token in allowed[first == delimiter].tolist()]
        for end in [*ends, *(vocabulary.ll_tokenizer.tokenize_bytes(text) for text in text_ends)]:
            beyond = scout.deep_copy()
            if beyond.consume_tokens(end) and _LETTER not in _singles(beyond, vocabulary)[1]:
                return list(end)
        ranks = np.maximum(ranks, _RANKS[_LETTER])
    tied = allowed[ranks == ranks.min()].tolist()
    word = list(takewhile(lambda token: vocabulary.tokens[token].isalnum(), reversed(path)))
    return [max(tied, key=lambda token: word.index(token) if token in word else len(word))]


def _singles(
    scout: Any,  # noqa: ANN401 - llguidance.LLMatcher
    vocabulary: Vocabulary,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """(the permitted tokens of one byte and special ones, the first byte of each)."""
    mask = np.frombuffer(scout.compute_bitmask(), dtype=np.uint32)
    tokens = vocabulary.singles
    allowed = tokens[(mask[tokens >> 5] >> (tokens & 31).astype(np.uint32)) & 1 == 1]
    return allowed, vocabulary.first_bytes[allowed]


def _as_written(path: list[int], matcher: Any, vocabulary: Vocabulary) -> list[int]:  # noqa: ANN401 - LLMatcher
    """`path` in the tokens in which its text is usually written, which are fewer."""
    special = set(vocabulary.specials.values())
    usual: list[int] = []
    text = b""
    for token in [*path, None]:
        if token is None or token in special:
            usual += vocabulary.ll_tokenizer.tokenize_bytes(text) if text else []
            usual += [] if token is None else [token]
            text = b""
        else:
            text += vocabulary.tokens[token]
    return usual if matcher.deep_copy().consume_tokens(usual) else path
