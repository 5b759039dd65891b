"""Sampling settings that change nothing, by the WebUI's names."""

from __future__ import annotations

from typing import Any


def default_preset() -> dict[str, Any]:
    """Neutral values of the sampling settings that this host knows."""
    return {
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "do_sample": True,
    }
