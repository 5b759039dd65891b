"""A GGUF file's header: metadata and places of tensors, read in one go (the format's version 3).

The `gguf` package reads a vocabulary of 262,144 words in a minute; a look at a file must not take that.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["GgufHeader", "GgufTensor", "read_header"]

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_NUMBERS = 4096  # of an array that are kept; scores and types of a vocabulary are only counted
_MOST_ITEMS = 1 << 28


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor's place: `shape` rows first, `start` in bytes from the file's beginning."""

    name: str
    shape: tuple[int, ...]
    kind: str  # the type's name, such as Q4_1
    start: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Metadata by key (texts, numbers, lists; a long list of numbers as its length), and all tensors."""

    metadata: Mapping[str, Any]
    tensors: tuple[GgufTensor, ...]


def read_header(path: Path) -> GgufHeader:
    """The header of the GGUF file.

    Raises:
        ValueError: It is damaged, or of another form.
        struct.error: It ends too early.
        KeyError: It holds a type that nobody knows.
        OSError: It cannot be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        walk = _Walk(data)
        if walk.bytes(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version = walk.number("I")
        if version not in (2, 3):
            raise ValueError(f"version {version} is not known")
        n_tensors, n_pairs = walk.count(), walk.count()
        metadata = {walk.text(): walk.value(walk.number("I")) for _ in range(n_pairs)}
        placed = [_placed(walk) for _ in range(n_tensors)]
        align = metadata.get("general.alignment", 32)
        start = -(-walk.at // align) * align
    return GgufHeader(
        metadata,
        tuple(GgufTensor(name, shape, kind, start + at, size) for name, shape, kind, at, size in placed),
    )


def _placed(walk: _Walk) -> tuple[str, tuple[int, ...], str, int, int]:
    name, dimensions = walk.text(), walk.number("I")
    if dimensions > 8:
        raise ValueError(f"{name[:40]!r} has {dimensions} dimensions")
    shape = tuple(reversed([walk.number("Q") for _ in range(dimensions)]))
    kind, at = walk.number("I"), walk.number("Q")
    label, block, size = _kind(kind)
    return name, shape, label, at, math.prod(shape) // block * size


def _kind(number: int) -> tuple[str, int, int]:
    """Name, values a block and bytes a block of a type; the list is the package's own."""
    try:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    except ImportError:
        return str(number), 1, 0
    kind = GGMLQuantizationType(number)
    return kind.name, *GGML_QUANT_SIZES[kind]


class _Walk:
    """Reads one thing after the other."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self.at = data, 0

    def bytes(self, n: int) -> bytes:
        if self.at + n > len(self._data):
            raise ValueError("it ends inside its header")
        self.at += n
        return self._data[self.at - n : self.at]

    def number(self, code: str) -> Any:  # noqa: ANN401 - a number or a truth value
        return struct.unpack(f"<{code}", self.bytes(struct.calcsize(f"<{code}")))[0]

    def count(self) -> int:
        n = int(self.number("Q"))
        if n > _MOST_ITEMS:
            raise ValueError(f"it counts {n} items")
        return n

    def text(self) -> str:
        return self.bytes(self.count()).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:  # noqa: ANN401
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(_SCALARS[kind])
        inner, n = self.number("I"), self.count()
        if inner in (_STRING, _ARRAY):
            return [self.value(inner) for _ in range(n)]
        numbers = self.bytes(n * struct.calcsize(f"<{_SCALARS[inner]}"))
        return list(struct.unpack(f"<{n}{_SCALARS[inner]}", numbers)) if n <= _MOST_NUMBERS else n
