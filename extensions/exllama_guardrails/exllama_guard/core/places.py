"""Which characters of a text are taken already, asked and told in the time of the piece, not of the text."""

from __future__ import annotations

__all__ = ["Taken"]


class Taken:
    """The places of one text that something was found at."""

    def __init__(self, characters: int) -> None:
        """Nothing is taken yet of a text of `characters` characters."""
        self._marks = bytearray(characters)

    def take(self, start: int, end: int) -> None:
        """Marks the characters from `start` up to `end`."""
        self._marks[start:end] = b"\1" * (end - start)

    def meets(self, start: int, end: int) -> bool:
        """True when a character from `start` up to `end` is taken."""
        return self._marks.find(1, start, end) >= 0
