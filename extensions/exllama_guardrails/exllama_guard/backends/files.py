"""Hashes and quantisation of a model, read from its files; no model library is imported."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from exllama_guard.core.backend import Quantisation
from exllama_guard.core.measures import NotScored, Reason

__all__ = ["model_hash", "quantisation", "quantisation_in", "tokenizer_hash", "weight_files"]

_FIRST_BYTES = 1 << 20  # of each shard; hashing tens of gigabytes on each load would be too slow
_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth")
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.jinja",
)
_CONFIG = ("config.json", "generation_config.json", "quantize_config.json", "quantization_config.json")
_LABEL = re.compile(r"(?<![A-Za-z0-9])((?:IQ|Q)\d(?:_[A-Za-z0-9]+)*|BF16|F16|F32)(?![A-Za-z0-9])", re.I)

_IN_A_NAME = re.compile(
    r"(?<![A-Za-z0-9])((?:IQ|Q)\d(?:_[A-Z0-9]+)*|BF16|F16|F32|\d+(?:\.\d+)?[ _-]?bpw|exl[23]|GPTQ|AWQ)"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE,
)


def quantisation_in(name: str) -> str | None:
    """The quantisation that a model's file or folder name tells, such as `Q4_K_M` or `4.0bpw`."""
    found = _IN_A_NAME.findall(name)
    return " ".join(found) if found else None


def weight_files(path: Path) -> tuple[Path, ...]:
    """The files that hold the weights, by name: the file itself, or those of a folder."""
    if path.is_file():
        return (path,)
    found = sorted(file for file in path.iterdir() if file.suffix in _WEIGHTS and file.is_file())
    safe = tuple(file for file in found if file.suffix == ".safetensors")
    return safe or tuple(file for file in found if not file.name.startswith(("training_args", "optimizer")))


def model_hash(path: Path | None) -> str | NotScored:
    """64 hex digits over config, tokenizer files, and size and first MiB of each shard.

    Two folders with the same content agree wherever they lie; times and other files do not count.
    """
    if path is None or not path.exists():
        return NotScored(Reason.NOT_SUPPORTED, f"the model's files are not at {path}")
    try:
        shards = weight_files(path)
        if not shards:
            return NotScored(Reason.FAILED, f"no weights ({', '.join(_WEIGHTS)}) in {path}")
        parts: dict[str, object] = {"shards": [_shard(file) for file in shards]}
        if path.is_dir():
            parts["config"] = _digests(path, _CONFIG)
            parts["tokenizer"] = _digests(path, _TOKENIZER)
        return _digest(parts)
    except OSError as error:
        return NotScored(Reason.FAILED, f"the model's files cannot be read: {error}")


def tokenizer_hash(path: Path | None) -> str | NotScored:
    """64 hex digits over the tokenizer's files; of a GGUF file, which holds its own, over its first MiB."""
    if path is None or not path.exists():
        return NotScored(Reason.NOT_SUPPORTED, f"the model's files are not at {path}")
    try:
        if path.is_file():
            return _digest({"gguf": _shard(path)})
        files = _digests(path, _TOKENIZER)
    except OSError as error:
        return NotScored(Reason.FAILED, f"the tokenizer's files cannot be read: {error}")
    if not files:
        return NotScored(Reason.FAILED, f"no tokenizer in {path}; put tokenizer.json beside the weights")
    return _digest(files)


def quantisation(path: Path | None) -> Quantisation:
    """How the weights are stored, as config.json or the file's name tells it, else `unknown`."""
    if path is None:
        return Quantisation("unknown")
    if path.is_file() or any(file.suffix == ".gguf" for file in weight_files_or_none(path)):
        return _named(path)
    config = read_json(path / "config.json")
    settings = config.get("quantization_config")
    if not isinstance(settings, dict) or not settings:
        dtype = config.get("torch_dtype") or config.get("dtype")
        return _unpacked(path, str(dtype)) if dtype else _named(path)
    method = str(settings.get("quant_method") or "unknown")
    bits = _bits(settings)
    label = f"{method} {bits:g} bits per weight" if bits is not None else method
    return Quantisation(label, bits, method)


def _unpacked(path: Path, dtype: str) -> Quantisation:
    """Plain weights; with their origin where the folder is named after a GGUF's quantisation."""
    origin = _named(path).label
    bits = _DTYPE_BITS.get(dtype)
    if not origin.startswith(("Q", "IQ")):
        return Quantisation(dtype, bits, "none")
    return Quantisation(f"{dtype}, unpacked from {origin}", bits, "none")


_DTYPE_BITS = {"float32": 32.0, "float16": 16.0, "bfloat16": 16.0}


def weight_files_or_none(path: Path) -> tuple[Path, ...]:
    """`weight_files`, empty where the folder cannot be read."""
    try:
        return weight_files(path)
    except OSError:
        return ()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where it is absent, unreadable or not an object."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _bits(settings: dict[str, Any]) -> float | None:
    bits = settings.get("bits")
    if isinstance(bits, (int, float)) and not isinstance(bits, bool) and bits > 0:
        return float(bits)
    if settings.get("load_in_4bit"):
        return 4.0
    return 8.0 if settings.get("load_in_8bit") else None


def _named(path: Path) -> Quantisation:
    files = weight_files_or_none(path)
    for name in (path.name, *(file.name for file in files)):
        found = _LABEL.findall(name)
        if found:
            label = found[-1].upper()
            digits = re.search(r"\d+", label)
            method = "gguf" if any(file.suffix == ".gguf" for file in files) else None
            return Quantisation(label, float(digits.group()) if digits else None, method)
    return Quantisation("unknown")


def _shard(file: Path) -> list[object]:
    with file.open("rb") as opened:
        first = hashlib.sha256(opened.read(_FIRST_BYTES)).hexdigest()
    return [file.name if file.suffix != ".gguf" else "", file.stat().st_size, first]


def _digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    found = ((name, folder / name) for name in names)
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in found if file.is_file()}


def _digest(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
