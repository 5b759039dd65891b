"""Optional verifiers, one adapter a file."""

from __future__ import annotations

from exllama_guard.core.ports import Verifier

__all__ = ["load_verifier"]


def load_verifier(name: str) -> Verifier | None:
    """The verifier that a settings value names, or None for an empty value; it loads on first use."""
    if not name:
        return None
    from exllama_guard.verifiers.cross_encoder import CrossEncoderVerifier

    return CrossEncoderVerifier(name)
