"""What a model's folder says about itself: configuration, vocabulary, chat template, installed versions."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exllama_guard.backends import (
    Layout,
    quantisation,
    read_json,
    read_layout,
    versions_of,
    weight_files_or_none,
)
from exllama_guard.core.measures import Gate
from exllama_guard.probes.doctor.detectors.files import (
    highest_id,
    rope_config,
    rope_pair,
    sliding_window,
    vocabulary,
)
from exllama_guard.probes.doctor.detectors.prompt import context_length, observe_template, observe_tokens
from exllama_guard.probes.doctor.detectors.tokenizer import observe_tokenizer
from exllama_guard.probes.doctor.detectors.version_skew import Installed, observe_versions
from exllama_guard.probes.doctor.detectors.weight_values import observe_values, observe_values_beside
from exllama_guard.probes.doctor.detectors.weights import (
    adapter_fits,
    measurement_fits,
    observe_weight_files,
)
from exllama_guard.probes.doctor.prompt_facts import facts_of_folder, facts_of_gguf
from exllama_guard.probes.doctor.shape import (
    DEFAULT_ROPE,
    Shape,
    bases_of,
    shape_of_config,
    shape_of_gguf,
    text_part,
)
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved, worst

__all__ = [
    "installed_versions",
    "observe_bases",
    "observe_environment",
    "observe_files",
    "observe_weights_beside",
]

_WHEELS = ("exllamav2", "exllamav3", "flash-attn", "xformers", "llama_cpp_binaries")
_EXTENSIONS = {"exllamav2": "exllamav2_ext", "exllamav3": "exllamav3_ext"}


def observe_files(path: Path, loader: str = "") -> tuple[Observation, ...]:
    """PC5, PC1, PC4, P1, P2, W1 and W2 from a folder's files or a GGUF; `loader`: the host's, if known."""
    if path.is_file():
        return _of_gguf(path)
    config = read_json(path / "config.json")
    if not config:
        return (
            _no_configuration(path),
            *(unobserved(id_, "there is no config.json") for id_ in _OF_A_CONFIG),
        )
    return _of_folder(path, config, loader)


_OF_A_CONFIG = ("PC5", "PC1", "PC4", "P1", "P2", "W2")


def _no_configuration(folder: Path) -> Observation:
    if (folder / "adapter_config.json").is_file():
        base = read_json(folder / "adapter_config.json").get("base_model_name_or_path") or "its base model"
        sentence = (
            f"{folder.name} holds an adapter (LoRA) and no model: name the folder of {base} as --model."
        )
    elif (folder / "config.json").is_file():
        sentence = (
            f"config.json in {folder.name} cannot be read: it is cut short or damaged. Copy it "
            "again from the "
            "model's source."
        )
    else:
        sentence = f"There is no readable config.json in {folder}; copy it from the model's source."
    return observed("W1", Gate.FAIL, sentence)


def _of_folder(folder: Path, config: Mapping[str, Any], loader: str) -> tuple[Observation, ...]:
    method = str(quantisation(folder).method or "")
    shape, text = shape_of_config(config), text_part(config)
    tokenizer = read_json(folder / "tokenizer.json")
    facts = facts_of_folder(folder, text, tokenizer)
    tokens = observe_tokenizer(folder, tokenizer)
    if tokens.verdict is Gate.PASS or tokenizer:
        tokens = worst(tokens, vocabulary(shape.vocabulary, highest_id(tokenizer)))
    scaling = text.get("rope_scaling") or text.get("rope_parameters")
    layout = read_layout(folder)
    return (
        rope_config(text, exllama=method in ("exl2", "exl3") or loader.lower().startswith("exllamav2")),
        tokens,
        observe_template(facts),
        observe_tokens(facts),
        context_length(
            _whole(text.get("max_position_embeddings")), _highest(bases_of(config)), _scaled(scaling),
            _whole(text.get("sliding_window")) if text.get("use_sliding_window", True) else None,
        ),
        sliding_window(text),
        *_weights(layout, shape, "" if method in ("none", "unknown", "gguf") else method, folder, text),
    )  # fmt: skip


def _weights(
    layout: Layout, shape: Shape, method: str, folder: Path | None, text: Mapping[str, Any]
) -> tuple[Observation, ...]:
    if folder is not None and not weight_files_or_none(folder):
        why = f"There are no weights (model.safetensors) in {folder.name}: copy them from the model's source."
        return (observed("W1", Gate.FAIL, why, unreadable=why), unobserved("W2", "there are no weights"))
    extra = _whole(text.get("num_nextn_predict_layers")) or 0
    found = [observe_weight_files(layout, shape, method, extra)]
    if folder is not None and (folder / "adapter_config.json").is_file():
        found.append(adapter_fits(read_layout(folder / "adapter_model.safetensors"), shape) or found[0])
    if folder is not None:
        found.append(measurement_fits(read_json(folder / "measurement.json"), shape) or found[0])
    why = "the weights cannot be read" if layout.unreadable else ""
    return (*found, unobserved("W2", why) if why else observe_values(layout))


def _of_gguf(path: Path) -> tuple[Observation, ...]:
    layout = read_layout(path)
    if not layout.metadata:
        why = layout.unreadable[0] if layout.unreadable else "it is no GGUF file"
        ids = ("PC5", "PC1", "PC4", "P1", "P2", "W2")
        return (observed("W1", Gate.FAIL, why, unreadable=why), *(unobserved(id_, why) for id_ in ids))
    told, facts = layout.metadata, facts_of_gguf(path, layout.metadata)
    arch, shape = told.get("general.architecture"), shape_of_gguf(layout.metadata)
    base = told.get(f"{arch}.rope.freq_base", DEFAULT_ROPE)
    scaled = any(f"{arch}.rope.scal" in key for key in told) or "rope_freqs.weight" in layout.tensors
    window = _whole(told.get(f"{arch}.attention.sliding_window"))
    return (
        observed("PC5", Gate.PASS, f"The GGUF's metadata tells the RoPE base {base:g}."),
        vocabulary(_embedding_rows(layout), shape.vocabulary - 1 if shape.vocabulary else None),
        observe_template(facts),
        observe_tokens(facts),
        context_length(_whole(told.get(f"{arch}.context_length")), base, scaled, window),
        *_weights(layout, shape, "", None, {}),
    )


def _embedding_rows(layout: Layout) -> int | None:
    tensor = layout.tensors.get("model.embed_tokens.weight")
    return tensor.shape[0] if tensor and len(tensor.shape) == 2 else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _highest(bases: Mapping[str, float]) -> float | None:
    return max(bases.values(), default=None)


def _scaled(scaling: object) -> bool:
    """Whether `rope_scaling` or `rope_parameters` stretches the positions."""
    if not isinstance(scaling, Mapping):
        return False
    inner = [one for one in scaling.values() if isinstance(one, Mapping)] or [scaling]
    return any(one.get("rope_type", one.get("type", "default")) != "default" for one in inner)


def observe_bases(model: Path, reference: Path) -> Observation:
    """PC5 beside a reference: the RoPE bases that the two tell, in config.json or in a GGUF's metadata."""
    ours, theirs = _bases_in_words(model), _bases_in_words(reference)
    if ours is None or theirs is None:
        which = model if ours is None else reference
        return unobserved("PC5", f"{which.name} has no config.json or GGUF metadata that can be read")
    return rope_pair(ours, theirs, "by their files")


def observe_weights_beside(model: Path, reference: Path) -> Observation:
    """W2 beside a reference: every tensor against the reference's."""
    return observe_values_beside(read_layout(model), read_layout(reference))


def _bases_in_words(path: Path) -> dict[str, float] | None:
    """The bases that loaders take from these files by kind of layer; None where they cannot be read."""
    if path.is_file():
        told = read_layout(path).metadata
        arch = told.get("general.architecture")
        if not told:
            return None
        full = float(told.get(f"{arch}.rope.freq_base", DEFAULT_ROPE))
        local = told.get(f"{arch}.rope.freq_base_swa")
        if arch == "gemma3":  # whose local base llama.cpp and transformers both know without being told
            local = local or DEFAULT_ROPE
        return {"full": full, "sliding": float(local)} if local else {"": full}
    config = read_json(path / "config.json")
    if not config:
        return None
    return bases_of(config) or {"": DEFAULT_ROPE}


# --- versions -------------------------------------------------------------------------------------------


def observe_environment() -> Observation:
    """PC3 of this process."""
    return observe_versions(installed_versions())


def installed_versions() -> Installed:
    """Versions of what is installed beside this process; imports torch."""
    wheels = versions_of(_WHEELS)
    broken = {
        name: f"it has no compiled {module}, and none is built yet"
        for name, module in _EXTENSIONS.items()
        if "+" in wheels.get(name, "") and importlib.util.find_spec(module) is None
    }
    if not versions_of(["torch"]):
        return Installed(wheels=wheels, broken=broken)
    import torch

    return Installed(
        torch=str(torch.__version__),
        cuda=torch.version.cuda,
        driver_cuda=_driver_cuda(),
        wheels=wheels,
        broken=broken,
        no_sdpa=bool(os.environ.get("EXLLAMA_NO_SDPA")) or "--no_sdpa" in sys.argv,
    )


def _driver_cuda() -> str | None:
    """Highest CUDA that the driver reaches, or None; asked of the driver, since torch's name for it moves."""
    import ctypes

    import torch

    if not torch.cuda.is_available():
        return None
    number = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        failed = driver.cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError):
        return None
    return None if failed else f"{number.value // 1000}.{number.value % 1000 // 10}"
