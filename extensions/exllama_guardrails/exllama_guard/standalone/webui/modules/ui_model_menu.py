"""Loads a model from the page; holds its own names for the functions, as the WebUI does."""

from __future__ import annotations

from modules import shared
from modules.models import load_model, unload_model


def load_model_wrapper(model_name: str) -> str:
    """Name of the model that is loaded afterwards; the one before is let go first.

    Raises:
        UserError: It is missing or unreadable.
    """
    unload_model()
    shared.model, shared.tokenizer = load_model(model_name)
    return str(shared.model_name)
