"""Where sentences end in one line, by sentencex, given no more than a window of it at a time.

sentencex looks for the other quotation mark of each one it meets, so that a line of lone marks costs it the
square of its length (100,000 characters: 32 s, with Python's lock held). In a window that square is a
constant, and the whole line costs a constant for each character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["WINDOW_CHARACTERS", "line_sentences", "sound"]

WINDOW_CHARACTERS = 4000  # a line of a document is shorter; of a longer one each piece is cut like a line

_SURROGATE = re.compile("[\ud800-\udfff]")


def sound(text: str) -> str:
    """`text` with lone surrogates replaced one for one: libraries in Rust refuse them."""
    return _SURROGATE.sub("\ufffd", text)


def line_sentences(line: str, language: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence of `line` in order, white space included; they cover it.

    A sentence of more than `WINDOW_CHARACTERS` characters is cut there, at a space where it has one.
    """
    at = 0
    while len(line) - at > WINDOW_CHARACTERS:
        window = line[at : at + WINDOW_CHARACTERS]
        *whole, (last, _) = _sentences(window, language)
        for start, end in whole:
            yield at + start, at + end
        if last == 0:
            last = _last_space(window)
            yield at, at + last
        at += last
    for start, end in _sentences(line[at:], language):
        yield at + start, at + end


def _last_space(window: str) -> int:
    """Where to cut a window without an end of a sentence: behind its last space, else at its end."""
    space = max(window.rfind(" "), window.rfind("\t"))
    return space + 1 if space > 0 else len(window)


def _sentences(text: str, language: str) -> list[tuple[int, int]]:
    from sentencex import get_sentence_boundaries

    found = get_sentence_boundaries(language, sound(text))
    return [(one["start_index"], one["end_index"]) for one in found] or [(0, len(text))]
