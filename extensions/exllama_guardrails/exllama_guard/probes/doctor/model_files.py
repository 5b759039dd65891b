"""What a model's folder says about itself: configuration, vocabulary, chat template, installed versions."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exllama_guard.backends import read_json, versions_of
from exllama_guard.core.measures import Gate
from exllama_guard.probes.doctor.detectors.files import (
    DEFAULT_ROPE,
    declared_base,
    rope_config,
    rope_pair,
    vocabulary,
)
from exllama_guard.probes.doctor.detectors.version_skew import Installed, observe_templates, observe_versions
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved

__all__ = ["installed_versions", "observe_bases", "observe_environment", "observe_files"]

_WHEELS = ("exllamav2", "exllamav3", "flash-attn", "xformers", "llama_cpp_binaries")
_EXTENSIONS = {"exllamav2": "exllamav2_ext", "exllamav3": "exllamav3_ext"}
_SAMPLE = ({"role": "user", "content": "What does the fence do?"},)


def observe_files(folder: Path) -> tuple[Observation, ...]:
    """PC5, PC1 and PC4 from the files of a Hugging Face folder; a GGUF file carries its own."""
    if folder.is_file():
        why = "a GGUF file carries its own configuration, tokenizer and template"
        return tuple(unobserved(id_, why) for id_ in ("PC5", "PC1", "PC4"))
    config = read_json(folder / "config.json")
    if not config:
        sentence = f"There is no readable config.json in {folder}; copy it from the model's source."
        return (observed("PC5", Gate.FAIL, sentence), unobserved("PC1", sentence), _template(folder))
    return (rope_config(_text_part(config)), _vocabulary(folder, _text_part(config)), _template(folder))


def observe_bases(model: Path, reference: Path) -> Observation:
    """PC5 beside a reference: the RoPE bases that the two tell, in config.json or in a GGUF's metadata."""
    ours, theirs = _base_in_words(model), _base_in_words(reference)
    if ours is None or theirs is None:
        which = model if ours is None else reference
        return unobserved("PC5", f"{which.name} has no config.json or GGUF metadata that can be read")
    return rope_pair(ours, theirs, "by their files")


def _base_in_words(path: Path) -> float | None:
    """The base that loaders take from these files; None where they cannot be read or have no RoPE."""
    if path.is_file():
        return _gguf_base(path)
    config = _text_part(read_json(path / "config.json"))
    if not config:
        return None
    return declared_base(config) or DEFAULT_ROPE


def _gguf_base(path: Path) -> float | None:
    try:
        from gguf import GGUFReader

        fields = GGUFReader(path).fields
    except (ImportError, OSError, ValueError, KeyError, IndexError):
        return None
    found = next((field for name, field in fields.items() if name.endswith(".rope.freq_base")), None)
    return DEFAULT_ROPE if found is None else float(found.parts[found.data[0]][0])


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part of a multimodal configuration."""
    part = config.get("text_config")
    return part if isinstance(part, Mapping) else config


def _vocabulary(folder: Path, config: Mapping[str, Any]) -> Observation:
    size = config.get("vocab_size")
    return vocabulary(size if isinstance(size, int) else None, _highest_id(folder / "tokenizer.json"))


def _highest_id(path: Path) -> int | None:
    """Highest id that a tokenizer.json can give; None where there is none or it has another form."""
    data = read_json(path)
    model = data.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    ids: list[int] = []
    if isinstance(vocab, dict):
        ids += [id_ for id_ in vocab.values() if isinstance(id_, int)]
    elif isinstance(vocab, list):
        ids.append(len(vocab) - 1)
    added = data.get("added_tokens")
    ids += [t["id"] for t in added or () if isinstance(t, dict) and isinstance(t.get("id"), int)]
    return max(ids, default=None)


def _template(folder: Path) -> Observation:
    """PC4: the chat template is filled with a sample chat and searched for what was left over."""
    source = _template_text(folder)
    if source is None:
        return unobserved("PC4", "the folder has no chat template")
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    special = read_json(folder / "tokenizer_config.json")
    values = {
        name: _token(special.get(name)) for name in ("bos_token", "eos_token", "pad_token", "unk_token")
    }
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"], autoescape=False
    )  # fmt: skip
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: "2025-01-01"
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    try:
        prompt = environment.from_string(source).render(
            messages=[dict(message) for message in _SAMPLE], add_generation_prompt=True, tools=None, **values
        )
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        sentence = (
            f"The chat template cannot be filled ({type(error).__name__}: {error}); take the model's own."
        )
        return observed("PC4", Gate.FAIL, sentence)
    if _SAMPLE[0]["content"] not in prompt:
        sentence = (
            "The chat template leaves the user's message out; take the template of the model's own source."
        )
        return observed("PC4", Gate.FAIL, sentence)
    return observe_templates(prompt, tuple(message["content"] for message in _SAMPLE))


def _refuse(message: str) -> None:
    raise ValueError(message)


def _token(value: object) -> str:
    return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")


def _template_text(folder: Path) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8", errors="replace")
    value = read_json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(value, list):
        value = next((entry.get("template") for entry in value if isinstance(entry, dict)), None)
    return value if isinstance(value, str) else None


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
