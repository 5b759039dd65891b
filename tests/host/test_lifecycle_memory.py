"""After an unload nothing of the guardrails keeps the model: weak reference, tensors and resident memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from programs import printed_by

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is read from /proc"),
]
WEIGHTS_BYTES = 400_000_000  # SmolLM2-135M as float32 holds some 540 MB


@pytest.fixture(scope="module")
def seen():
    program = Path(__file__).with_name("memory_program.py")
    return printed_by(program, limit_s=500)


def test_an_unloaded_model_leaves_no_tensor_and_gives_its_memory_back(seen):
    weak = seen["weak"]
    assert weak["answer"]
    assert weak["loaded"] > WEIGHTS_BYTES
    assert not weak["alive"]
    assert weak["left_before_it_is_told"] < 0.01 * weak["loaded"]  # the host alone decides
    assert weak["left"] < 0.01 * weak["loaded"]
    assert weak["resident_loaded"] - weak["resident_left"] > 0.7 * weak["loaded"]


def test_the_measurement_sees_a_model_that_is_kept(seen):
    strong = seen["strong"]
    assert strong["loaded"] > WEIGHTS_BYTES
    assert strong["left_before_it_is_told"] > 0.9 * strong["loaded"]
