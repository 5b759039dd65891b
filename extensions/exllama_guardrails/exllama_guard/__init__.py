"""ExLlama Guardrails: measures, while people chat, whether an answer rests on the retrieved text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exllama_guard.host.hand_over import hand_over

__version__ = "0.1.0"
__all__ = ["hand_over"]


def __getattr__(name: str) -> object:
    """`hand_over`, imported on first use: the set-up runs where not even numpy is installed yet.

    Raises:
        AttributeError: Any other name.
    """
    if name != "hand_over":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from exllama_guard.host.hand_over import hand_over

    return hand_over
