"""Loads and unloads the model; both functions keep their names because extensions wrap them."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exllama_guard.standalone.small_model import load_small_model
from modules import shared

logger = logging.getLogger("webui")

last_generation_time = time.time()
on_stage: Callable[[str], None] = logger.info


def load_model(model_name: str, loader: str | None = None) -> tuple[Any, Any]:
    """(model, tokenizer) of a Hugging Face folder or GGUF file; "" is the small model that pip brings.

    Raises:
        UserError: It is missing or unreadable.
    """
    started_s = time.monotonic()
    shared.args.loader = loader or "Transformers"
    loaded = load_small_model(Path(model_name) if model_name else None, on_stage)
    shared.model_name = loaded.name
    shared.args.model = loaded.name
    shared.settings["instruction_template_str"] = loaded.tokenizer.chat_template or ""
    shared.settings["truncation_length"] = min(
        shared.args.ctx_size, loaded.model.config.max_position_embeddings
    )
    logger.info("Loaded %s in %.1f s.", loaded.name, time.monotonic() - started_s)
    return loaded.model, loaded.tokenizer


def unload_model(keep_model_name: bool = False) -> None:
    """Lets go of the model, if there is one."""
    if shared.model is None:
        return
    shared.model = shared.tokenizer = None
    shared.lora_names = []
    if not keep_model_name:
        shared.model_name = "None"
    gc.collect()
