"""Optional verifiers, one adapter a file."""

from __future__ import annotations

from exllama_guard.core.ports import AnswerReader, Verifier

__all__ = ["BUILT_IN", "load_reader", "load_verifier"]

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


def load_reader(name: str) -> AnswerReader | None:
    """The reader that a setting names ("built-in": the shipped one; "": none); it loads on first use."""
    if name != BUILT_IN:
        return None
    from exllama_guard.verifiers.reader import BuiltInReader

    return BuiltInReader()
