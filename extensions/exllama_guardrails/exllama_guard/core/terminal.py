"""Text on its way to a terminal: control characters of the text are written out, they command nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

__all__ = ["plain_streams", "printable"]

# C0 but tab and line end, DEL, C1, and the marks that turn the direction of writing around.
_CODES = (*range(32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_WRITTEN = {code: f"\\u{code:04x}" for code in _CODES if chr(code) not in "\t\n"}


def printable(text: str) -> str:
    r"""`text` with each control character but tab and line end as `\u001b`, the form that JSON has too."""
    return text.translate(_WRITTEN)


class _Plain:
    """A stream that writes out what would command the terminal; everything else is the stream's own."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(printable(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the stream's
        return getattr(self._stream, name)


@contextmanager
def plain_streams() -> Iterator[None]:
    """Standard output and error write out control characters while the block runs."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("Any", _Plain(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
