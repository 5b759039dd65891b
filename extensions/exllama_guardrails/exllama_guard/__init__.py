"""ExLlama Guardrails: measures, while people chat, whether an answer rests on the retrieved text."""

__version__ = "0.1.0"

from exllama_guard.host.hand_over import hand_over

__all__ = ["hand_over"]
