"""The tensors of a model's weight files: names, shapes, types and values, and why a file cannot be read.

Only headers are read until values are asked for. Names are those of Hugging Face folders; a GGUF's are
translated, and its values are put back as they were before llama.cpp's converter changed them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from exllama_guard.backends.files import read_json, weight_files_or_none
from exllama_guard.backends.gguf_weights import read_gguf
from exllama_guard.backends.layout import Layout, Tensor
from exllama_guard.core.measures import FloatArray

__all__ = ["read_layout", "unreadable_file"]

_AGAIN = "download the file again from the model's source"
_NUMPY = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "U16": "<u2",
    "BOOL": "u1",
}
_MOST_HEADER_BYTES = 100_000_000  # what the safetensors library itself allows


def read_layout(path: Path) -> Layout:
    """The tensors of a folder's safetensors files or of a GGUF file; empty for other kinds of weights."""
    files = weight_files_or_none(path)
    if path.is_file() and path.suffix == ".gguf":
        return read_gguf(path, unreadable_file(path))
    tensors: dict[str, Tensor] = {}
    unreadable = [sentence for file in files if (sentence := unreadable_file(file))]
    for file in files:
        if file.suffix == ".safetensors" and not unreadable_file(file):
            tensors.update(_tensors(file))
    there = {file.name for file in files}
    index = read_json(path / "model.safetensors.index.json") if path.is_dir() else {}
    told = index.get("weight_map")
    wanted = set(told.values()) if isinstance(told, dict) else set()
    return Layout(tensors, tuple(unreadable), tuple(sorted(wanted - there)))


def unreadable_file(file: Path) -> str:
    """One sentence with the file and the remedy where a weights file cannot be read; else ''."""
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            start = opened.read(512)
    except OSError as error:
        return f"{file.name} cannot be opened ({error.strerror}): check its rights, or {_AGAIN}."
    if size == 0:
        return f"{file.name} is empty (0 bytes): {_AGAIN}."
    if start.startswith(b"version https://git-lfs"):
        return (
            f"{file.name} is a Git LFS pointer of {size} bytes, not the weights: run `git lfs pull` in the "
            f"folder, or {_AGAIN}."
        )
    if start.lstrip()[:1] == b"<":
        return f"{file.name} is a web page and holds no weights: {_AGAIN}."
    if file.suffix == ".safetensors":
        return _unreadable_safetensors(file, size)
    if file.suffix == ".gguf" and not start.startswith(b"GGUF"):
        return f"{file.name} is not a GGUF file: {_AGAIN}."
    return ""


def _unreadable_safetensors(file: Path, size: int) -> str:
    try:
        header, start = _header(file)
    except (OSError, ValueError):
        return f"{file.name} is not a safetensors file, or its header is damaged: {_AGAIN}."
    try:
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        wanted = start + max(ends, default=0)
    except (TypeError, KeyError, IndexError):
        return f"{file.name} has a damaged header: {_AGAIN}."
    if wanted <= size:
        return ""
    return (
        f"{file.name} is cut short: it ends at {size / 1e6:.1f} of {wanted / 1e6:.1f} MB. The download was "
        f"broken off: {_AGAIN}."
    )


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """The header's entries, and where the values start.

    Raises:
        ValueError: It is none.
    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 2 <= length <= min(_MOST_HEADER_BYTES, file.stat().st_size - 8):
            raise ValueError("no header")
        header = json.loads(opened.read(length))
    if not isinstance(header, dict):
        raise ValueError("no header")
    return header, 8 + length


def _tensors(file: Path) -> dict[str, Tensor]:
    header, start = _header(file)
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        shape, dtype = tuple(entry["shape"]), str(entry["dtype"])
        found[name] = Tensor(
            name, shape, dtype, file.name, _reader(file, shape, dtype, start + entry["data_offsets"][0])
        )
    return found


def _reader(file: Path, shape: tuple[int, ...], dtype: str, start: int) -> Callable[[int], FloatArray]:
    def read(most: int) -> FloatArray:
        kind = _NUMPY.get(dtype)
        if kind is None or 0 in shape:
            return np.zeros(0, dtype=np.float32)
        rows = shape or (1,)
        mapped = np.memmap(file, dtype=kind, mode="r", offset=start, shape=rows)
        return as_floats(evenly(mapped, most), dtype)

    return read


def evenly(values: Any, most: int) -> Any:  # noqa: ANN401 - an array of any type
    """Rows of `values` evenly taken, so that about `most` values remain."""
    step = -(-values.size // max(most, 1))
    if step <= 1 or values.ndim == 0:
        return values
    return values.reshape(-1)[::step] if values.ndim == 1 else values[::step]


def as_floats(values: Any, dtype: str) -> FloatArray:  # noqa: ANN401
    """The values as float32; bfloat16 comes as the upper half of one."""
    if dtype == "BF16":
        floats: FloatArray = (values.astype(np.uint32) << 16).view(np.float32)
        return floats
    with np.errstate(over="ignore"):
        plain: FloatArray = np.asarray(values).astype(np.float32)
    return plain
