"""Masks of tokens: one bit a token, 32 in a word, least significant first."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from exllama_guard.tools.locks.vocabulary import Vocabulary

__all__ = ["Mask", "keep_exponent_short", "keep_marks_out", "set_bits"]

Mask = npt.NDArray[np.int32]

# Where a number has begun an exponent. Three digits of one make 1e999, which is no number to a strict reader.
_EXPONENT = re.compile(rb"[0-9][eE][+-]?([0-9]{0,2})\Z")


def set_bits(mask: Mask, tokens: npt.NDArray[np.int64], allowed: bool) -> None:
    """Allows or forbids `tokens`."""
    words = mask.view(np.uint32)
    bits = np.left_shift(np.uint32(1), (tokens & 31).astype(np.uint32))
    if allowed:
        np.bitwise_or.at(words, tokens >> 5, bits)
    else:
        np.bitwise_and.at(words, tokens >> 5, ~bits)


def keep_exponent_short(mask: Mask, recent: bytes, vocabulary: Vocabulary) -> None:
    """Keeps a number's exponent to two digits; a letter that may follow tells text from a number.

    Args:
        mask: What the grammar allows; changed in place.
        recent: The last bytes written.
        vocabulary: The tokens.
    """
    exponent = _EXPONENT.search(recent)
    letter = vocabulary.token_of(b"z") if exponent is not None else None
    if exponent is None or letter is None or mask[letter >> 5] >> (letter & 31) & 1:
        return
    shorter = mask.copy()
    set_bits(shorter, vocabulary.digit_runs[2 - len(exponent[1])], False)
    if shorter.any():
        mask[:] = shorter


# Letters that no JSON outside a string begins or goes on with: where one may come, a text is being written.
_LETTERS = (b"z", b"q", b"X")


def keep_marks_out(
    mask: Mask, recent: bytes, bans: Mapping[bytes, npt.NDArray[np.int64]], vocabulary: Vocabulary
) -> None:
    """Forbids what would complete a closing mark inside a text: hosts take it for the end of the call.

    So a text that should hold the mark cannot be written (docs/tools.md).

    Args:
        mask: What the grammar allows; changed in place.
        recent: The last bytes written.
        bans: Ids of tokens that complete a mark, by what of it must stand before them.
        vocabulary: The tokens.
    """
    begun = [tokens for beginning, tokens in bans.items() if recent.endswith(beginning)]
    if not begun:
        return
    letters = [token for token in map(vocabulary.token_of, _LETTERS) if token is not None]
    if not any(mask[letter >> 5] >> (letter & 31) & 1 for letter in letters):
        return
    shorter = mask.copy()
    for tokens in begun:
        set_bits(shorter, tokens, False)
    if shorter.any():
        mask[:] = shorter
