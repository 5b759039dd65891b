"""A fault while a lock is put into a loader leaves the loader's own call as it was, and is told."""

from __future__ import annotations

import types

import pytest
from exllama_guard.host import guard
from exllama_guard.host.patches import Patches
from exllama_guard.host.tools import constrain
from exllama_guard.host.tools.constrain import Constrainer
from exllama_guard.host.tools.turn import ToolTurn


@pytest.fixture
def told():
    found = {}
    guard.report_to(lambda sentence, key: found.setdefault(key, sentence))
    found.clear()  # what was told before there was a monitor
    yield found
    guard.report_to(None)


@pytest.fixture
def constrainer(monkeypatch):
    """One whose reply has a lock that nothing can be built from."""
    turn = ToolTurn(None, "page::c")
    made = Constrainer(lambda: turn, Patches(), lambda *_: None)
    monkeypatch.setattr(made, "_lock", lambda: (turn, types.SimpleNamespace(holds_all=True)))
    made.turn = turn
    return made


def test_a_job_of_exllamav3_starts_without_the_filter(constrainer, told):
    job = constrainer._job(lambda *args, **kwargs: (args, kwargs))
    assert job(input_ids=None, filters=["theirs"], seed=1) == (
        (),
        {"input_ids": None, "filters": ["theirs"], "seed": 1},
    )
    assert len(told) == 1
    assert not constrainer.turn.reply.enforced


def test_a_stream_of_exllamav2_begins_without_the_filter(constrainer, told):
    begin = constrainer._begin(lambda *args, **kwargs: (args, kwargs))
    generator = object()
    assert begin(generator, "ids", "settings", seed=1) == ((generator, "ids", "settings"), {"seed": 1})
    assert len(told) == 1
    assert not constrainer.turn.reply.enforced


def test_the_limit_of_a_reply_reaches_the_filter_of_either_library(constrainer, monkeypatch):
    from exllama_guard.host import webui

    limits = []
    for name in ("filter_for_exllamav2", "filter_for_exllamav3"):
        monkeypatch.setattr(constrain, name, lambda *_, limit: limits.append(limit) or "ours")
    shared = types.SimpleNamespace(model=types.SimpleNamespace(tokenizer=None))
    monkeypatch.setattr(webui, "shared_module", lambda: shared)
    constrainer.turn.opened({"max_new_tokens": 1, "auto_max_new_tokens": True, "truncation_length": 4096}, "")
    job = constrainer._job(lambda *args, **kwargs: kwargs["filters"])
    assert job(input_ids=None, max_new_tokens=64, filters=["theirs"]) == ["theirs", "ours"]
    begin = constrainer._begin(lambda *args, **kwargs: kwargs["filters"])
    assert begin(object(), types.SimpleNamespace(shape=(1, 96)), "settings") == ["ours"]
    assert limits == [64, 4000]
