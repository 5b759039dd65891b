"""ExLlama Guardrails for TextGen WebUI: the hook table. What the hooks do is in exllama_guard/host."""

import sys
from pathlib import Path

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:  # user_data/extensions is loaded without a package, so no relative import works
    sys.path.append(_HERE)

from exllama_guard.host import start  # noqa: E402 - needs the path
from exllama_guard.host.hooks import (  # noqa: E402 - needs the path
    chat_input_modifier,
    history_modifier,
    input_modifier,
    output_modifier,
    state_modifier,
)
from exllama_guard.host.logits import logits_processor_modifier  # noqa: E402 - needs the path
from exllama_guard.settings import to_params  # noqa: E402 - needs the path

__all__ = [
    "chat_input_modifier",
    "history_modifier",
    "input_modifier",
    "logits_processor_modifier",
    "output_modifier",
    "params",
    "setup",
    "state_modifier",
    "ui",
]

params = {"display_name": "ExLlama Guardrails", "is_tab": False, **to_params()}


def setup() -> None:
    """Starts observing; the host has put its settings into `params` by now."""
    start.setup(params)


def ui() -> None:
    """Builds the panel."""
    start.ui()
