"""The loaded model as the host hands it over: weak references, and the settings it was loaded with."""

from __future__ import annotations

import importlib.metadata
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exllama_guard.core.backend import Shards
from exllama_guard.errors import BackendError

__all__ = [
    "LoadSettings",
    "LoadedModel",
    "cuda_devices",
    "library_versions",
    "reference",
    "surroundings",
    "versions_of",
]

_LIBRARIES = ("torch", "transformers", "exllamav2", "exllamav3", "flash-attn", "llama_cpp_binaries", "peft")


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How the host was asked to load; a change of any of these arms the fence again."""

    cache_type: str = ""
    split: str = ""
    context_tokens: int | None = None
    tensor_parallel: bool = False
    tensor_backend: str = ""
    loras: tuple[str, ...] = ()
    parallel: int = 1  # llama.cpp's --parallel
    draft_model: str = ""


def reference(thing: object | None) -> Callable[[], Any]:
    """A weak reference to `thing`; for None, or a thing that allows none, a function that gives None.

    A strong reference would keep the model's memory after the host has unloaded it.
    """
    if thing is None:
        return lambda: None
    try:
        return weakref.ref(thing)
    except TypeError:
        return lambda: None


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is loaded. `model` and `tokenizer` give the object, or None once it is unloaded."""

    name: str
    loader: str
    model: Callable[[], Any]
    tokenizer: Callable[[], Any]
    path: Path | None = None  # folder or GGUF file
    settings: LoadSettings = LoadSettings()
    options: Callable[[], Mapping[str, str]] = dict  # what else the host was told, by its names

    def alive(self) -> Any:  # noqa: ANN401 - the host's object, of a class of the loader's
        """The model.

        Raises:
            BackendError: It was unloaded.
        """
        model = self.model()
        if model is None:
            raise BackendError(f"{self.name} was unloaded; load a model on the Model page.")
        return model

    def alive_tokenizer(self) -> Any:  # noqa: ANN401 - the host's object
        """The tokenizer.

        Raises:
            BackendError: There is none.
        """
        tokenizer = self.tokenizer()
        if tokenizer is None:
            raise BackendError(
                f"{self.name} has no tokenizer; put tokenizer.json or tokenizer.model beside its weights."
            )
        return tokenizer

    def shards(self) -> Shards:
        """The devices this process sees, and how the host was asked to use them."""
        wanted = self.settings
        return Shards(cuda_devices(), wanted.split, wanted.tensor_parallel, wanted.tensor_backend)


def cuda_devices() -> tuple[str, ...]:
    """UUIDs of the visible CUDA devices in order; `cpu` where there is none or torch is not loaded."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ("cpu",)
    count = torch.cuda.device_count()
    return tuple(str(torch.cuda.get_device_properties(index).uuid) for index in range(count))


def library_versions() -> dict[str, str]:
    """Versions of what a greedy output may depend on: torch, CUDA, the loaders' libraries."""
    versions = versions_of(_LIBRARIES)
    torch = sys.modules.get("torch")
    if torch is not None:
        versions["CUDA"] = str(torch.version.cuda or "none")
        if torch.cuda.is_available():
            versions["GPU"] = torch.cuda.get_device_name(0)
    return versions


def surroundings() -> dict[str, str]:
    """What of this process may change a greedy output on a CPU: torch's threads and instruction set."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    return {
        "torch threads": str(torch.get_num_threads()),
        "CPU instructions": str(torch.backends.cpu.get_cpu_capability()),
    }


def versions_of(libraries: Iterable[str]) -> dict[str, str]:
    """The version of each library that is installed, by its name."""
    found = {}
    for library in libraries:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[library] = importlib.metadata.version(library)
    return found
