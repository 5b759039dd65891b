"""Where the embedded default's files lie."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DOCUMENTS", "EXTENSION"]

EXTENSION = Path(__file__).resolve().parents[2]
DOCUMENTS = EXTENSION / "docs_example"
