"""ExLlama Guardrails: measures, while people chat, whether an answer rests on the retrieved text."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exllama_guard.checking import check
    from exllama_guard.host.turn.hand_over import hand_over

__version__ = "0.1.0"
__all__ = ["check", "hand_over"]

_PLACES = {"check": "exllama_guard.checking", "hand_over": "exllama_guard.host.turn.hand_over"}


def __getattr__(name: str) -> object:
    """`check` and `hand_over`, imported on first use: the set-up runs where not even numpy is installed yet.

    Raises:
        AttributeError: Any other name.
    """
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
