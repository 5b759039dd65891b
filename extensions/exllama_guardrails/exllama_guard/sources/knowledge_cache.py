"""Vectors kept on disk by the hash of the text that they stand for; plain numbers, no pickle.

The file grows by one record a text while a folder is indexed, so that a build that was killed goes on where
it was: 16 bytes of head (mark and dimension), then for each text its sha256, a checksum and its vector.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from exllama_guard.core.measures import FloatArray
from exllama_guard.core.private_file import replacing
from exllama_guard.errors import SourceError

__all__ = ["VectorCache"]

_MARK = b"EGVECTORS 1\n"
_HEAD = struct.Struct("<12sI")
_KEY_BYTES = 32
_SUM = struct.Struct("<I")


class VectorCache:
    """One file with a vector for each text's sha256. What is missing or damaged in it reads as not there."""

    def __init__(self, folder: Path, name: str) -> None:
        """The file for `name` (embedder, splitting, folder) inside `folder`."""
        self._path = folder / f"vectors-{hashlib.sha256(name.encode()).hexdigest()[:24]}.bin"

    @staticmethod
    def key(text: str) -> bytes:
        """32 bytes that stand for `text`."""
        return hashlib.sha256(text.encode("utf-8", "replace")).digest()

    def load(self) -> dict[bytes, FloatArray]:
        """Every stored vector by its key; a record that was cut off or damaged is left out."""
        try:
            data = self._path.read_bytes()
        except OSError:
            return {}
        return dict(_records(data))

    def append(self, vectors: Mapping[bytes, FloatArray]) -> None:
        """Adds vectors; they stay when the program is killed.

        Raises:
            SourceError: They could not be written.
        """
        if not vectors:
            return
        width = len(next(iter(vectors.values())))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(self._path, flags, 0o600), "r+b") as file:
                end = file.seek(0, os.SEEK_END)
                head = _HEAD.pack(_MARK, width)
                file.seek(0)
                whole = end >= len(head) and file.read(len(head)) == head
                torn = (end - len(head)) % _size(width) if whole else end
                if torn:
                    file.truncate(end - torn)
                file.write((b"" if whole else head) + b"".join(_record(*pair) for pair in vectors.items()))
        except OSError as error:
            raise _unkept(error) from error

    def save(self, vectors: Mapping[bytes, FloatArray]) -> None:
        """Replaces the file by these vectors; the old one is whole where that fails.

        Raises:
            SourceError: It could not be written.
        """
        width = len(next(iter(vectors.values()), ()))
        try:
            with replacing(self._path) as file:
                file.write(_HEAD.pack(_MARK, width))
                file.writelines(_record(*pair) for pair in vectors.items())
        except OSError as error:
            raise _unkept(error) from error


def _size(width: int) -> int:
    return _KEY_BYTES + _SUM.size + 4 * width


def _record(key: bytes, vector: FloatArray) -> bytes:
    body = key + np.asarray(vector, dtype="<f4").tobytes()
    return key + _SUM.pack(zlib.crc32(body)) + body[_KEY_BYTES:]


def _records(data: bytes) -> Iterator[tuple[bytes, FloatArray]]:
    if len(data) < _HEAD.size:
        return
    mark, width = _HEAD.unpack_from(data)
    if mark != _MARK or not 0 < width < 1_000_000:
        return
    size = _size(width)
    for at in _whole(len(data), size):
        key = data[at : at + _KEY_BYTES]
        (told,) = _SUM.unpack_from(data, at + _KEY_BYTES)
        numbers = data[at + _KEY_BYTES + _SUM.size : at + size]
        if zlib.crc32(key + numbers) == told:
            yield key, np.frombuffer(numbers, dtype="<f4").astype(np.float32, copy=False)


def _whole(length: int, size: int) -> Iterable[int]:
    """Where the records begin that are there to their end."""
    return range(_HEAD.size, length - size + 1, size)


def _unkept(error: OSError) -> SourceError:
    return SourceError(
        f"The knowledge folder's vectors cannot be kept ({error.strerror or error}); each start "
        "computes them again. Free space, or name another folder in EXLLAMA_GUARDRAILS_CACHE."
    )
