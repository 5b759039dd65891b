"""Settings and fixtures of the whole suite."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from no_network import refused

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ROOT / "extensions" / "exllama_guardrails"
SHARED = Path(os.environ.get("GUARDRAILS_SHARED_DIR", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The development data beside the checkout; the test is skipped where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no development data at {SHARED / 'data'}: set GUARDRAILS_SHARED_DIR to its folder")
    return SHARED


# Rooms that need no network: each of their tests runs without one.
WITHOUT_NETWORK = {
    *("acting", "backends", "commands", "core", "grounding", "lifecycle", "monitor"),
    *("probes", "report", "sources", "structure", "tools", "trace"),
}


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Refuses every connection in the rooms above; whoever catches the refusal fails here."""
    with refused() if request.path.parent.name in WITHOUT_NETWORK else nullcontext([]) as tried:
        yield tried
    assert tried == []


@pytest.fixture(scope="module", autouse=True)
def _what_a_module_leaves_open_is_its_own_fault() -> Iterator[None]:
    """A program or socket that is still open is found here, and not by whichever test runs much later."""
    yield
    gc.collect()
