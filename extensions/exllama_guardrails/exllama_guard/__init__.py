"""ExLlama Guardrails: measures, while people chat, whether an answer rests on the retrieved text."""

__version__ = "0.1.0"
