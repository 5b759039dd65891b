"""The tensors of a model's weight files as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from exllama_guard.core.measures import FloatArray

__all__ = ["Layout", "Tensor"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor. `read` gives at most so many of its values, evenly taken rows, as float32."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # as the file names it: F16, BF16, I32, Q4_1 ...
    file: str
    read: Callable[[int], FloatArray]

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Layout:
    """All tensors by name. `unreadable`: one sentence a file that cannot be read; `missing`: shards."""

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)  # of a GGUF, under its own keys
