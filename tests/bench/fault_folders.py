"""How the fault bench makes a faulty model: a folder beside a good one, with one thing in it changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Fault", "Tensors", "config", "edit_json", "gguf_copy", "layer_of", "plain_folder", "weights"]

Tensors = dict[str, Any]  # name → torch tensor
Make = Callable[[Path], "Path | None"]  # changes the folder; another path to examine, or None for the folder


@dataclass(frozen=True, slots=True)
class Fault:
    """One planted fault. `names` and `remedy`: patterns that the finding's words must hold."""

    id: str
    kind: str  # not finite, unloadable, missing, weights, rope, tokenizer, prompt
    base: str  # smol, gemma, smol.gguf, gemma.gguf
    make: Make
    names: str
    remedy: str
    rope_may_be_named: bool = False  # a remedy that names rope_theta is right here, and harmful elsewhere


def plain_folder(source: Path, target: Path) -> Path:
    """A copy of the model at `source` under `target`: weights as links, everything else as files."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    if source.is_file():
        (target / source.name).symlink_to(source)
        return target / source.name
    for file in source.iterdir():
        if file.suffix == ".safetensors":
            (target / file.name).symlink_to(file)
        elif file.name != "complete":
            shutil.copy(file, target / file.name)
    return target


def edit_json(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the object in a JSON file in place."""
    path = folder / name
    data = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def config(**changes: object) -> Make:
    """Changes config.json; None takes a key away."""

    def make(folder: Path) -> None:
        def change(data: dict[str, Any]) -> None:
            for name, value in changes.items():
                data.pop(name, None) if value is None else data.update({name: value})

        edit_json(folder, "config.json", change)

    return make


def weights(change: Callable[[Tensors], object]) -> Make:
    """Changes the tensors of model.safetensors in place, and writes them anew."""

    def make(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        path = folder / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        path.unlink()
        save_file(
            {name: value.contiguous().clone() for name, value in tensors.items()}, path, {"format": "pt"}
        )

    return make


def layer_of(tensors: Tensors, layer: int) -> list[str]:
    """Names of a layer's tensors."""
    return [name for name in tensors if f"layers.{layer}." in name]


def gguf_copy(change: Callable[[Any], object]) -> Make:
    """Changes a copy of the GGUF file through a writable reader: metadata scalars and tensor data."""

    def make(path: Path) -> Path:
        from gguf import GGUFReader

        source = path.resolve()
        path.unlink()
        shutil.copy(source, path)
        reader = GGUFReader(path, "r+")
        change(reader)
        return path

    return make
