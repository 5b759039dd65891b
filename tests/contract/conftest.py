"""What several contracts share."""

from __future__ import annotations

import pytest
from exllama_guard.tools.locks.vocabulary import byte_vocabulary


@pytest.fixture(scope="session")
def letters():
    """A vocabulary of the 256 bytes and an end."""
    return byte_vocabulary()
