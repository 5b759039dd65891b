"""The embedded default's language model: a Hugging Face folder or a GGUF, read without network."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exllama_guard.backends import bundled_gguf
from exllama_guard.core.folders import user_cache_folder
from exllama_guard.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["LoadedModel", "load_small_model"]

_COMPLETE = "complete"  # written last into a cached folder: one without it was interrupted
_BROKEN = (OSError, ValueError, RuntimeError, KeyError, NotImplementedError)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to generate, with its tokenizer."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def load_small_model(path: Path | None, report_stage: Callable[[str], None] = lambda _: None) -> LoadedModel:
    """The model at `path` (a folder or a GGUF; None: the one that pip brings); `tell` hears each stage.

    Raises:
        UserError: It is missing or unreadable.
    """
    source = bundled_gguf() if path is None else path.expanduser()
    try:
        if source.is_dir():
            report_stage(f"Loading {source.name}")
            return _from_folder(source, source.resolve().name)
        if source.suffix.lower() == ".gguf" and source.is_file():
            return _from_gguf(source, report_stage)
    except ImportError as error:
        raise UserError(
            f"The model needs a package that is missing ({error}); run the set-up command again."
        ) from error
    except _BROKEN as error:
        raise UserError(
            f"The model {source.name} cannot be loaded ({_first_line(error)}); "
            "name a Hugging Face folder or a GGUF file that transformers reads."
        ) from error
    raise UserError(f"There is no model at {source}; name a Hugging Face folder or a .gguf file.")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _from_folder(folder: Path, name: str) -> LoadedModel:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    cuda = torch.cuda.is_available()
    model = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, dtype=torch.bfloat16 if cuda else torch.float32
    )
    return LoadedModel(name, _placed(model), tokenizer)


def _placed(model: Any) -> Any:  # noqa: ANN401 - transformers wraps `to` so that it has no type
    import torch

    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _from_gguf(source: Path, report_stage: Callable[[str], None]) -> LoadedModel:
    """The model of a GGUF; its de-quantised form is kept: the next start is far quicker."""
    name = source.stem
    folder = user_cache_folder() / "models" / f"{name}-{_fingerprint(source)}"
    if (folder / _COMPLETE).is_file():
        report_stage(f"Loading {name}")
        try:
            return _from_folder(folder, name)
        except _BROKEN:
            shutil.rmtree(folder, ignore_errors=True)  # damaged: made again below
    report_stage(f"Unpacking {name} (first start only)")
    loaded = _read_gguf(source, name)
    try:
        _keep(loaded, folder)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)  # no room: the next start unpacks again
    return loaded


def _fingerprint(source: Path) -> str:
    from transformers import __version__

    with source.open("rb") as file:
        start = file.read(1 << 20)
    stamp = f"{source.stat().st_size}|{__version__}".encode()
    return hashlib.sha256(start + stamp).hexdigest()[:16]


def _read_gguf(source: Path, name: str) -> LoadedModel:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, local_files_only=True)
    read = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, local_files_only=True, dtype=torch.float32
    )
    # transformers refuses to save a model that came from a GGUF: its weights move into a plain one.
    settings = read.config.to_dict()
    settings.pop("quantization_config", None)
    config: Any = type(read.config).from_dict(settings)
    factory: Any = AutoModelForCausalLM
    with torch.device("meta"):
        model = factory.from_config(config)
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    _move_buffers(read, model)
    return LoadedModel(name, _placed(model), tokenizer)


def _move_buffers(source: PreTrainedModel, target: PreTrainedModel) -> None:
    """Gives `target` the buffers of `source` that no state dict holds (rotary frequencies)."""
    modules = dict(target.named_modules())
    for name, buffer in source.named_buffers():
        owner, _, attribute = name.rpartition(".")
        modules[owner].register_buffer(attribute, buffer, persistent=False)


def _keep(loaded: LoadedModel, folder: Path) -> None:
    """Writes the model beside its final place and then renames it, so that no half of it is ever read."""
    import torch

    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    state = {key: value.to(torch.float16) for key, value in loaded.model.state_dict().items()}
    loaded.model.save_pretrained(part, state_dict=state)
    loaded.tokenizer.save_pretrained(part)
    _write_rope_theta(part / "config.json")
    (part / _COMPLETE).write_text("", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _write_rope_theta(config: Path) -> None:
    """Copies `rope_theta` to the top level, the only place where older readers look."""
    settings = json.loads(config.read_text(encoding="utf-8"))
    theta = (settings.get("rope_parameters") or {}).get("rope_theta")
    if theta is not None:
        settings.setdefault("rope_theta", theta)
        config.write_text(json.dumps(settings, indent=2), encoding="utf-8")
