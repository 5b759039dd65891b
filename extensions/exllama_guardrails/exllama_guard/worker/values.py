"""Values as bytes between the two processes: JSON with the arrays behind it, and only the classes named here.

Nothing that arrives can name a function or another class: what is read back are values and nothing else.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from exllama_guard.core import measures, ports, snippets, turns
from exllama_guard.settings import Settings

__all__ = ["decode", "encode"]

_SIZE = struct.Struct(">Q")
_PLAIN = (str, int, float, bool, type(None))


def _classes() -> dict[str, type[Any]]:
    """Every value class and enumeration of the core, and the settings, by name."""
    named = {
        name: thing
        for module in (measures, snippets, turns, ports)
        for name, thing in vars(module).items()
        if isinstance(thing, type) and (is_dataclass(thing) or issubclass(thing, Enum))
    }
    return {**named, "Settings": Settings}


_CLASSES = _classes()
_FIELDS = {
    name: tuple(field.name for field in fields(kind)) for name, kind in _CLASSES.items() if is_dataclass(kind)
}


def encode(value: object) -> bytes:
    """The value as bytes.

    Raises:
        TypeError: It holds something that is no value known here.
        RecursionError: It is nested too deep.
    """
    arrays: list[bytes] = []
    plain = json.dumps(_plain(value, arrays), separators=(",", ":")).encode("ascii")
    return b"".join((_SIZE.pack(len(plain)), plain, *arrays))


def decode(body: bytes) -> Any:  # noqa: ANN401 - whatever was sent
    """The value that these bytes stand for; arrays are copies that may be written to.

    Raises:
        ValueError, KeyError, TypeError: The bytes are not those of a value.
    """
    (size,) = _SIZE.unpack_from(body)
    at = _SIZE.size + size

    def array(kind: str, shape: list[int]) -> npt.NDArray[Any]:
        nonlocal at
        count = int(np.prod(shape))
        found = np.frombuffer(body, dtype=np.dtype(kind), count=count, offset=at).reshape(shape).copy()
        at += found.nbytes
        return found

    return _value(json.loads(body[_SIZE.size : at]), array)


def _plain(value: object, arrays: list[bytes]) -> object:
    """`value` as JSON knows it: anything but a text, number, truth value or None is a list with its kind."""
    if isinstance(value, Enum):
        return ["e", _known(value), value.name]
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (tuple, list, frozenset)):
        kind = "t" if isinstance(value, tuple) else "l" if isinstance(value, list) else "s"
        return [kind, *(_plain(one, arrays) for one in value)]
    if isinstance(value, dict):
        return ["d", *([_plain(name, arrays), _plain(one, arrays)] for name, one in value.items())]
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        arrays.append(np.ascontiguousarray(value).tobytes())
        return ["a", value.dtype.str, list(value.shape)]
    if isinstance(value, np.generic):
        return value.item()
    name = _known(value)
    return ["c", name, *(_plain(getattr(value, field), arrays) for field in _FIELDS[name])]


def _known(value: object) -> str:
    name = type(value).__name__
    if _CLASSES.get(name) is not type(value):
        raise TypeError(f"a {name} is no value that crosses to another process")
    return name


def _value(plain: Any, array: Callable[[str, list[int]], npt.NDArray[Any]]) -> Any:  # noqa: ANN401
    if not isinstance(plain, list):
        return plain
    kind = plain[0]
    if kind == "c":
        return _CLASSES[plain[1]](*[_value(one, array) for one in plain[2:]])
    if kind == "e":
        return _CLASSES[plain[1]][plain[2]]
    if kind == "a":
        return array(plain[1], plain[2])
    if kind == "d":
        return {_value(name, array): _value(one, array) for name, one in plain[1:]}
    return {"t": tuple, "l": list, "s": frozenset}[kind](_value(one, array) for one in plain[1:])
