"""Pieces of bytes over a pipe: eight bytes of length, then the piece. The standard library only."""

from __future__ import annotations

import struct
from typing import IO

__all__ = ["read_frame", "write_frame"]

_LENGTH = struct.Struct(">Q")


def read_frame(pipe: IO[bytes]) -> bytes | None:
    """The next piece; None where the other side has closed the pipe, also in the middle of a piece."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    size = _LENGTH.unpack(head)[0]
    body = pipe.read(size)
    return body if len(body) == size else None


def write_frame(pipe: IO[bytes], body: bytes) -> None:
    """Writes one piece.

    Raises:
        OSError, ValueError: The other side has closed the pipe, or this one has.
    """
    pipe.write(_LENGTH.pack(len(body)))
    pipe.write(body)
    pipe.flush()
