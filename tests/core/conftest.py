"""Nothing in the core needs a network: each of its tests runs without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from no_network import refused


@pytest.fixture(autouse=True)
def no_network() -> Iterator[list[str]]:
    """Refuses every connection; whoever catches the refusal fails here."""
    with refused() as tried:
        yield tried
    assert tried == []
