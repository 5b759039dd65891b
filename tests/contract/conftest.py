"""What several contracts share."""

from __future__ import annotations

from pathlib import Path

import pytest
from exllama_guard.tools.locks.vocabulary import byte_vocabulary
from programs import printed_by
from webui_hosts import hosts


@pytest.fixture(scope="session")
def letters():
    """A vocabulary of the 256 bytes and an end."""
    return byte_vocabulary()


@pytest.fixture(scope="session", params=hosts())
def seen(request):
    """What the extension saw in each scenario, by the scenario's name."""
    folder, python = request.param
    program = Path(__file__).with_name("host_scenarios.py")
    results = printed_by(program, folder, python=python)
    for name, result in results.items():
        assert "error" not in result, f"{name}: {result.get('error')}"
    return results
