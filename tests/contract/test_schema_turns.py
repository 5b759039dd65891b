"""Answers under a JSON Schema by API, in the embedded host and in the WebUIs that TEXTGEN_WEBUI_DIR names."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import printed_by
from webui_hosts import hosts

GOOD = '{"a": 1}'


@pytest.fixture(scope="module", params=hosts())
def seen(request):
    """What a client gets where the model misses the schema."""
    folder, python = request.param
    return printed_by(Path(__file__).with_name("schema_program.py"), folder, python=python)


def test_an_answer_that_misses_the_schema_is_asked_for_again(seen):
    assert seen["whole"] == GOOD


def test_a_streamed_answer_is_held_back_until_it_fits(seen):
    parts, finish = seen["streamed"]
    assert "".join(parts) == GOOD
    assert finish == "stop"


def test_after_the_last_try_a_stream_ends_once_and_the_panel_counts_it(seen):
    parts, finish = seen["never right"]
    assert finish == "stop"
    assert sum("Sure" in part for part in parts) == 1, "one answer or sentence, not three"
    assert seen["outcomes"] == ["repaired", "repaired", "refused"]
