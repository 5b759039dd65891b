"""Which library opens a mode: `[LABEL=]PATH[@PRECISION]`, or what the folder says about itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from exllama_guard.backends import quantisation
from exllama_guard.errors import BackendError, UserError
from exllama_guard.probes.compare import Mode
from exllama_guard.probes.doctor.reading import Reading
from exllama_guard.probes.modes.transformers import (
    PRECISIONS,
    WEIGHT_ONLY,
    WEIGHT_ONLY_SPEED,
    LocalMode,
    ModeSpec,
)

__all__ = ["MODE_HELP", "Choice", "Opened", "bundled", "choose_mode"]

MODE_HELP = """\
A mode is [LABEL=]PATH[@PRECISION]. PATH is a Hugging Face folder, a GGUF file, or an EXL2 or EXL3
folder; PRECISION is
  float32, bfloat16, float16      transformers; a GGUF is de-quantised, so it is no second mode of itself
  int8, int4                      transformers with weight-only rounding by torchao
  exllamav2, exllamav3            these libraries, on a GPU; with a type of KV cache: exllamav2:q4
  llamacpp                        llama.cpp's server, for a GGUF; with a type of KV cache: llamacpp:q8_0
Without PRECISION an EXL2 or EXL3 folder is opened by its own library, anything else as float32."""

_LIBRARIES = {"exl2": "exllamav2", "exl3": "exllamav3"}


class Opened(Mode, Reading, Protocol):
    """A loaded mode: writes, reads, and is closed."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A mode as it was asked for. `open` raises BackendError where it cannot be loaded."""

    label: str
    path: Path
    precision: str
    kind: str  # weights or kv_cache
    bits: float | None
    open: Callable[[], Opened]
    open_timed: Callable[[], Opened] | None = (
        None  # with the kernels of its precision, where `open` has others
    )
    speed_note: str = ""


def choose_mode(text: str, default_precision: Callable[[Path], str] = lambda path: "float32") -> Choice:
    """The mode of `[LABEL=]PATH[@PRECISION]`; nothing is loaded.

    Raises:
        UserError: The precision is unknown or the path is not there.
    """
    label, _, rest = text.rpartition("=") if "=" in text else ("", "", text)
    place, _, precision = rest.partition("@")
    path = Path(place).expanduser()
    if not path.exists():
        raise UserError(f"There is no model at {place}; name a Hugging Face folder or a GGUF file.")
    precision = precision or _LIBRARIES.get(str(quantisation(path).method), "") or default_precision(path)
    if precision.partition(":")[0] in _LIBRARIES.values():
        return _exllama(label, place, precision)
    if precision.partition(":")[0] == "llamacpp":
        return _llamacpp(label, path, precision.partition(":")[2])
    if precision not in PRECISIONS:
        known = ", ".join((*PRECISIONS, *_LIBRARIES.values(), "llamacpp"))
        raise UserError(f"There is no precision {precision!r}; choose one of {known} (in {text!r}).")
    if str(quantisation(path).method) in _LIBRARIES:
        raise UserError(
            f"{place} holds EXL weights, which transformers cannot open; leave @{precision} away."
        )
    spec = ModeSpec(
        label or f"{path.stem if path.is_file() else path.name} {precision}", path, precision=precision
    )
    made = Choice(spec.label, path, precision, spec.kind, spec.bits, partial(LocalMode, spec))
    if precision not in WEIGHT_ONLY:
        return made
    return replace(made, open_timed=partial(LocalMode, spec, kernels=True), speed_note=WEIGHT_ONLY_SPEED)


def bundled() -> Choice:
    """The small model that pip brings.

    Raises:
        UserError: It is not installed.
    """
    from exllama_guard.backends import bundled_gguf

    return choose_mode(str(bundled_gguf()))


def _exllama(label: str, place: str, precision: str) -> Choice:
    from exllama_guard.probes.modes.exllama import bits_of, kind_of, read_exllama_precision

    spec = read_exllama_precision(label, place, precision)
    if spec is None:
        raise UserError(
            f"There is no precision {precision!r}; choose exllamav2 or exllamav3, such as exllamav2:q4."
        )
    return Choice(
        spec.label, spec.path, precision, kind_of(spec), bits_of(spec), partial(_open_exllama, spec)
    )


def _llamacpp(label: str, path: Path, cache: str) -> Choice:
    from exllama_guard.probes.modes.llama_cpp import CACHES, LlamaMode, LlamaSpec

    cache = cache or "f16"
    if cache not in CACHES:
        raise UserError(f"llama.cpp has no cache type {cache!r}; choose one of {', '.join(CACHES)}.")
    if not path.is_file():
        raise UserError(f"llama.cpp opens GGUF files, and {path} is a folder.")
    spec = LlamaSpec(label or f"{path.stem} {cache}", path, cache)
    kind = "weights" if cache == "f16" else "kv_cache"
    bits = quantisation(path).bits
    return Choice(spec.label, path, f"llamacpp:{cache}", kind, bits, partial(LlamaMode, spec))


def _open_exllama(spec: object) -> Opened:
    from exllama_guard.probes.modes.exllama import ExLlamaMode
    from exllama_guard.probes.modes.exllama_open import ExLlamaSpec

    if not isinstance(spec, ExLlamaSpec):
        raise BackendError(f"{spec} is no mode of ExLlama.")
    _require(spec.library, spec.label)
    return ExLlamaMode(spec)


def _require(library: str, label: str) -> None:
    """Says how to get a library that is not there.

    Raises:
        BackendError: It is not installed, or there is no GPU for it.
    """
    from importlib.util import find_spec

    if find_spec(library) is None:
        raise BackendError(
            f"{label} needs {library}, which is not installed; install its wheel for your torch and CUDA "
            f"(github.com/turboderp-org/{library}/releases)."
        )
    import torch

    if not torch.cuda.is_available():
        raise BackendError(f"{label} needs an NVIDIA GPU for {library}, and torch sees none.")
