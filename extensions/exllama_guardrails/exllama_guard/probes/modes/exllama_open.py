"""Opens an EXL2 or EXL3 folder without a host, as objects with the fields that the WebUI's own have.

Written against exllamav2 0.3.2 and exllamav3 1.6.5; the fields are those of `Exllamav2Model` (WebUI 3.23) and
`Exllamav3Model` (4.7.3), so that the adapters in `backends/` hold either.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exllama_guard.errors import BackendError, UserError

__all__ = ["CACHE_TYPES", "LIBRARIES", "ExLlamaSpec", "OpenedModel", "open_exllama"]

LIBRARIES = ("exllamav2", "exllamav3")
CACHE_TYPES = {"exllamav2": ("fp16", "fp8", "q8", "q6", "q4"), "exllamav3": ("fp16", "q8", "q6", "q4")}
_LOADERS = {"exllamav2": "ExLlamav2", "exllamav3": "ExLlamav3"}
_PAGE = 256  # exllamav3 takes whole pages only
_UNLOADABLE = (OSError, ValueError, RuntimeError, KeyError, ImportError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class ExLlamaSpec:
    """What to open, and how. `sdpa` leaves torch's attention on, which ExLlamaV2 up to 0.3.2 uses wrongly."""

    label: str
    path: Path
    library: str = "exllamav2"
    cache_type: str = "fp16"
    context_tokens: int = 4096
    split: str = ""  # GB a device, as the WebUI's gpu_split: "20,24"
    tensor_parallel: bool = False
    tensor_backend: str = ""  # exllamav3: native or nccl
    sdpa: bool = False

    @property
    def loader(self) -> str:
        """The loader's name in the WebUI."""
        return _LOADERS[self.library]

    @property
    def split_gb(self) -> list[float] | None:
        """The split as numbers; None lets the library choose."""
        return [float(part) for part in self.split.split(",")] if self.split else None


class OpenedModel:
    """A loaded model with the fields of the WebUI's object; `close` lets its memory go."""

    model: Any
    cache: Any
    tokenizer: Any
    generator: Any
    config: Any
    max_tokens: int
    loras: Any = None
    draft_model: Any = None
    draft_cache: Any = None
    parallel_generator: Any = None

    def close(self) -> None:
        """Unloads the model; the object is of no use afterwards."""
        import gc

        if self.model is not None:
            self.model.unload()
        self.model = self.cache = self.generator = self.tokenizer = None
        gc.collect()


def open_exllama(spec: ExLlamaSpec) -> OpenedModel:
    """The model on the GPU.

    Raises:
        UserError: The library or the cache type is unknown.
        BackendError: It cannot be loaded; the message says why.
    """
    if spec.library not in LIBRARIES:
        raise UserError(f"There is no loader {spec.library!r}; choose one of {', '.join(LIBRARIES)}.")
    known = CACHE_TYPES[spec.library]
    if spec.cache_type not in known:
        raise UserError(
            f"{spec.library} has no cache type {spec.cache_type!r}; choose one of {', '.join(known)}."
        )
    try:
        return _open_v2(spec) if spec.library == "exllamav2" else _open_v3(spec)
    except _UNLOADABLE as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise BackendError(f"{spec.label} cannot be loaded by {spec.library}: {first[:300]}") from error


def _open_v2(spec: ExLlamaSpec) -> OpenedModel:
    import exllamav2
    from exllamav2.generator import ExLlamaV2StreamingGenerator

    config = exllamav2.ExLlamaV2Config()
    config.model_dir = str(spec.path)
    config.prepare()
    config.max_seq_len = spec.context_tokens
    config.no_sdpa = not spec.sdpa
    kind = {
        "fp16": exllamav2.ExLlamaV2Cache,
        "fp8": exllamav2.ExLlamaV2Cache_8bit,
        "q8": exllamav2.ExLlamaV2Cache_Q8,
        "q6": exllamav2.ExLlamaV2Cache_Q6,
        "q4": exllamav2.ExLlamaV2Cache_Q4,
    }[spec.cache_type]
    held = OpenedModel()
    held.config = config
    held.model = exllamav2.ExLlamaV2(config)
    if spec.tensor_parallel:
        held.model.load_tp(spec.split_gb)
        held.cache = exllamav2.ExLlamaV2Cache_TP(held.model, base=kind)
    elif spec.split:
        held.model.load(spec.split_gb)
        held.cache = kind(held.model)
    else:
        held.cache = kind(held.model, lazy=True)
        held.model.load_autosplit(held.cache)
    held.tokenizer = exllamav2.ExLlamaV2Tokenizer(config)
    held.generator = ExLlamaV2StreamingGenerator(held.model, held.cache, held.tokenizer)
    held.max_tokens = int(held.cache.max_seq_len)
    return held


def _open_v3(spec: ExLlamaSpec) -> OpenedModel:
    import exllamav3
    from exllamav3.cache import CacheLayer_fp16, CacheLayer_quant

    held = OpenedModel()
    held.config = exllamav3.Config.from_directory(str(spec.path))
    held.model = exllamav3.Model.from_config(held.config)
    held.max_tokens = -(-spec.context_tokens // _PAGE) * _PAGE
    if spec.cache_type == "fp16":
        held.cache = exllamav3.Cache(held.model, max_num_tokens=held.max_tokens, layer_type=CacheLayer_fp16)
    else:
        bits = int(spec.cache_type[1:])
        held.cache = exllamav3.Cache(
            held.model,
            max_num_tokens=held.max_tokens,
            layer_type=CacheLayer_quant,
            k_bits=bits,
            v_bits=bits,
        )
    how: dict[str, Any] = {"progressbar": False}
    if spec.split:
        how["use_per_device"] = spec.split_gb
    if spec.tensor_parallel:
        how["tensor_p"] = True
        how["tp_backend"] = spec.tensor_backend or "native"
    held.model.load(**how)
    held.tokenizer = exllamav3.Tokenizer.from_config(held.config)
    held.generator = exllamav3.Generator(model=held.model, cache=held.cache, tokenizer=held.tokenizer)
    return held
