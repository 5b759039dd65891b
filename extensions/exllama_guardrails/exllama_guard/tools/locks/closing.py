"""Closes a locked reply before its limit: when, and with which tokens.

llguidance knows what may come next, not how far the end is (1.9.1). So the end is looked for on a copy of its
matcher, which costs about 1 µs to make: what closes comes first, what opens comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from exllama_guard.tools.locks.vocabulary import Vocabulary

if TYPE_CHECKING:
    from exllama_guard.tools.locks.compiled import CompiledLock

__all__ = ["Closer", "shortest_end"]

# Tokens tried on the way to an end. Schemas whose shortest value is longer are not closed.
_MOST_TOKENS = 600

# By byte: how soon it leads to an end, soonest lowest; 3 for all that are not named.
_RANKS = np.full(256, 3)
for _rank, _bytes in enumerate((b"}])", b"\"'</>", b",", b"", b"-.", b"{[(\\", b" \n\t\r")):
    _RANKS[list(_bytes)] = _rank
_DELIMITERS = b"\"<'"
_LETTER = ord("z")


class Closer:
    """When a reply of at most `limit` tokens must be closed, and how; one reply's own."""

    def __init__(self, lock: CompiledLock, limit: int) -> None:
        self._lock = lock
        self._left = limit
        self._look_at = limit  # tokens left at which the end is looked for again
        self._end: list[int] = []

    def wrote(self, token: int) -> bool:
        """Takes a token of the reply; True where it was the last one of the end."""
        self._left -= 1
        if not self._end:
            return False
        if self._end.pop(0) != token:
            self._end = []  # the sampler went another way
            return False
        return not self._end

    def end(self, matcher: Any) -> list[int] | None:  # noqa: ANN401 - llguidance.LLMatcher
        """The tokens that must come now for the reply to end in time; None while any may.

        The end is looked for again when half of the slack before it is used up, so some ten times a reply.
        """
        if self._end or self._left > self._look_at:
            return self._end or None
        end = shortest_end(matcher, self._lock.vocabulary, self._lock.text_ends)
        if end is None or len(end) > self._left:
            self._look_at = self._left // 2
            return None
        slack, margin = self._left - len(end), self._lock.margin
        if slack > (margin if end else max(margin, self._lock.again)):
            self._look_at = self._left - max(1, (slack - max(margin, self._lock.again)) // 2)
            return None
        self._end = end
        return end


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
