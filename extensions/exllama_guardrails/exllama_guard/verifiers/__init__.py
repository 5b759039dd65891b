"""Optional verifiers, one adapter a file."""

from __future__ import annotations

from exllama_guard.core.ports import Verifier

__all__ = ["BUILT_IN", "load_verifier"]

BUILT_IN = "built-in"  # the settings value that asks for the shipped weights


def load_verifier(name: str) -> Verifier | None:
    """The verifier that a setting names ("built-in": the shipped one), or None; it loads on first use."""
    if not name:
        return None
    if name == BUILT_IN:
        from exllama_guard.verifiers.built_in import BuiltInVerifier

        return BuiltInVerifier()
    from exllama_guard.verifiers.cross_encoder import CrossEncoderVerifier

    return CrossEncoderVerifier(name)
