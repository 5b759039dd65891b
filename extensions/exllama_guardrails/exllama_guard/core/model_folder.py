"""Whether a model's folder holds nothing but a model: what in it would have a library run other code.

sentence-transformers imports the classes that `modules.json` names, transformers those of `auto_map`, and
both read weights that may be pickles. A folder with any of these is refused before a library sees it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["known_folder", "refusal"]

_KINDS = re.compile(
    r"sentence_transformers(?:\.[a-z_]+)*\.(?:Transformer|Pooling|Normalize|Dense|LayerNorm|Dropout)"
)
_ACTIVATIONS = re.compile(r"torch\.nn\.modules\.(?:activation\.\w+|linear\.Identity)")
_DATA = {"tokenizer.json", "vocab.json"}  # large, and no configuration
_MOST_BYTES = 4_000_000  # of a file with a configuration
_RUNS = ("auto_map", "trust_remote_code", "custom_pipelines", "custom_generate")


def known_folder(name: str) -> Path | None:
    """The folder of a model that a setting names, also one that was downloaded before; None without one."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.resolve()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, OSError, ValueError):
        return None


def refusal(folder: Path) -> str:
    """Why nothing may be loaded from the folder, as the end of a sentence; "" where it may be."""
    try:
        return next(_found(folder), "")
    except (OSError, ValueError, RecursionError) as error:
        return f"it cannot be read ({type(error).__name__})"


def _found(folder: Path) -> Iterator[str]:
    if (folder / "adapter_config.json").exists():
        yield "it is an adapter that names another model"
    modules = _modules(folder)
    for module in modules:
        kind, below = str(module.get("type")), str(module.get("path", ""))
        if not _KINDS.fullmatch(kind):
            yield f"its modules.json names {kind[:100]!r}, which is no known part of a model"
        if not (folder / below).resolve().is_relative_to(folder.resolve()):
            yield "its modules.json leads out of the folder"
    for path in sorted(folder.rglob("*.json")):
        if path.name not in _DATA:
            yield from _in_configuration(path, folder)
    for place in {folder, *((folder / str(module.get("path", ""))) for module in modules)}:
        if _only_pickles(place):
            yield f"its weights {place.name}/*.bin may hold code; only .safetensors are read"
    if not any(folder.rglob("*.safetensors")):
        yield "it holds no .safetensors file"


def _modules(folder: Path) -> list[dict[str, Any]]:
    path = folder / "modules.json"
    listed = _read(path) if path.exists() else []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise ValueError("modules.json is no list of modules")
    return listed


def _in_configuration(path: Path, folder: Path) -> Iterator[str]:
    shown = path.relative_to(folder).as_posix()
    for name, value in _pairs(_read(path)):
        if name in _RUNS and value:
            yield f"its {shown} asks for Python of its own ({name})"
        if name == "activation_function" and not _ACTIVATIONS.fullmatch(str(value)):
            yield f"its {shown} names {str(value)[:100]!r}, which is no activation function of torch"
        if name in ("attn_implementation", "_attn_implementation") and "/" in str(value):
            yield f"its {shown} asks for code from a network ({name})"


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - whatever JSON holds
    """Every name in the value, however deep, with what it names."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from one.items()
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _read(path: Path) -> Any:  # noqa: ANN401 - whatever JSON holds
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path.name} is no configuration")
    return json.loads(path.read_text(encoding="utf-8"))


def _only_pickles(folder: Path) -> bool:
    pickles = any(path.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt") for path in folder.glob("*.*"))
    return pickles and not any(folder.glob("*.safetensors"))
