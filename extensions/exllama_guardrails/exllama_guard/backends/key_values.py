"""The key-value cache of a transformers model: `cache` from 5.24 on, `past_key_values` before."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["cache_argument", "cache_of"]

_OLD, _NEW = "past_key_values", "cache"


def cache_of(output: Any) -> Any:  # noqa: ANN401 - each model family has its own class of cache
    """The cache that a forward pass gave back; asking 5.24 for it by the old name is a warning there."""
    return output[_NEW] if _NEW in output else output[_OLD]


def cache_argument(model: Any, output: Any) -> str:  # noqa: ANN401 - any model of the library
    """The keyword under which `model` takes the cache of `output`.

    A model that came with its own code keeps the name of its own signature; a wrapper (peft) has neither
    name in its signature and passes on what the library's version takes.
    """
    if _OLD in inspect.signature(model.forward).parameters:
        return _OLD
    return _NEW if _NEW in output else _OLD
