"""The WebUI's own model classes, from a checkout, without the rest of the WebUI.

`modules.shared` and the few functions that these classes import are stood in for; their code is the WebUI's.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ARGS: dict[str, Any] = {
    "model_dir": "",
    "ctx_size": 4096,
    "compress_pos_emb": 1,
    "alpha_value": 1,
    "no_flash_attn": False,
    "no_xformers": False,
    "no_sdpa": True,
    "num_experts_per_token": 2,
    "gpu_split": None,
    "enable_tp": False,
    "tp_backend": "native",
    "autosplit": True,
    "cache_type": "fp16",
    "cfg_cache": False,
    "model_draft": None,
    "ctx_size_draft": 0,
    "draft_max": 4,
    "verbose": False,
}
# What the loaders read of a request; the values are the WebUI's neutral ones.
STATE: dict[str, Any] = {
    "max_new_tokens": 64,
    "auto_max_new_tokens": False,
    "truncation_length": 4096,
    "temperature": 1.0,
    "temperature_last": False,
    "dynamic_temperature": False,
    "dynatemp_low": 1,
    "dynatemp_high": 1,
    "dynatemp_exponent": 1,
    "smoothing_factor": 0.0,
    "top_k": 1,
    "top_p": 1.0,
    "top_a": 0.0,
    "min_p": 0.0,
    "tfs": 1,
    "typical_p": 1,
    "repetition_penalty": 1.0,
    "repetition_penalty_range": 1024,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "mirostat_mode": 0,
    "mirostat_tau": 5,
    "mirostat_eta": 0.1,
    "ban_eos_token": False,
    "custom_token_bans": "",
    "dry_allowed_length": 2,
    "dry_base": 1.75,
    "dry_multiplier": 0.0,
    "dry_sequence_breakers": "",
    "xtc_probability": 0.0,
    "xtc_threshold": 0.1,
    "add_bos_token": False,
    "skip_special_tokens": True,
    "seed": 0,
    "stream": True,
}


def open_webui(checkout: Path, file: str, kind: str, model: Path, **args: Any) -> Any:
    """An object of class `kind` of modules/`file` in `checkout`, with `model` loaded."""
    shared = _host(model, args)
    module = _load(checkout / "modules" / file)
    module.shared = shared
    if kind == "Exllamav3HF":  # its from_pretrained hands a Path on, and exllamav3 1.6.5 wants a text
        return module.Exllamav3HF(str(model))
    made = getattr(module, kind).from_pretrained(model.name)
    return made[0] if isinstance(made, tuple) else made


def _host(model: Path, args: dict[str, Any]) -> ModuleType:
    package = sys.modules.setdefault("modules", ModuleType("modules"))
    package.__path__ = getattr(package, "__path__", [])
    shared = ModuleType("modules.shared")
    shared.args = argparse.Namespace(**{**ARGS, "model_dir": str(model.parent), **args})
    shared.stop_everything, shared.is_multimodal = False, False
    logs = ModuleType("modules.logging_colors")
    logs.logger = logging.getLogger("webui")
    text = ModuleType("modules.text_generation")
    text.get_max_prompt_length = lambda state: state["truncation_length"] - state["max_new_tokens"]
    images = ModuleType("modules.image_utils")
    images.convert_image_attachments_to_pil = images.convert_openai_messages_to_images = lambda given: []
    for module in (shared, logs, text, images):
        sys.modules[module.__name__] = module
        setattr(package, module.__name__.rpartition(".")[2], module)
    return shared


def _load(path: Path) -> ModuleType:
    name = f"modules.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
