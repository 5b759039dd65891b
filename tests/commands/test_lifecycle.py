"""The commands `warmup` and `drift`, over a model that a person can predict."""

from __future__ import annotations

import json

import pytest
from exllama_guard.commands import drift, warmup
from exllama_guard.errors import UserError
from exllama_guard.standalone import direct_model
from exllama_guard.testing import FakeBackend


@pytest.fixture
def backend(monkeypatch):
    made = FakeBackend(token_s=0.002)
    opened = direct_model.DirectModel(made, None)
    monkeypatch.setattr(direct_model, "open_model", lambda path, tell=None: opened)
    return made


def test_a_warm_up_prints_speed_hashes_and_compares_with_the_run_before(backend, tmp_path, capsys):
    argv = ["--canaries", str(tmp_path / "canaries.json")]
    printed = []
    for _ in range(2):
        assert warmup.run(argv) == 0
        printed.append(json.loads(capsys.readouterr().out))
    assert [one["canary_same"] for one in printed] == [None, True]
    assert printed[0]["model_hash"] == "0" * 64
    assert len(printed[0]["ttft_s"]) >= 3
    backend.drifts_after_tokens = 0
    assert warmup.run(argv) == 1
    changed = json.loads(capsys.readouterr().out)
    assert changed["canary_same"] is False
    assert "What changed" in changed["canary_says"]


def test_drift_prints_where_it_begins(backend, capsys):
    backend.token_s = 0.0
    assert drift.run(["--max-tokens", "1024"]) == 0
    assert json.loads(capsys.readouterr().out)["numeric_drift_at_tokens"] is None
    backend.drifts_after_tokens = 600
    assert drift.run(["--max-tokens", "1024"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert 600 <= printed["numeric_drift_at_tokens"] <= 1100
    assert printed["tested_tokens"] >= 1024


@pytest.mark.parametrize("tokens", ["0", "-5", "100"])
def test_a_useless_length_is_refused_before_a_model_is_loaded(monkeypatch, capsys, tokens):
    monkeypatch.setattr(direct_model, "open_model", lambda *_: pytest.fail("loaded"))
    assert drift.run(["--max-tokens", tokens]) == 2
    assert "at least 256" in capsys.readouterr().err


@pytest.mark.parametrize("command", [drift, warmup])
def test_a_model_that_is_not_there_is_one_sentence(monkeypatch, capsys, command):
    def missing(path, tell=None):
        raise UserError("There is no model at /nowhere; name a Hugging Face folder or a .gguf file.")

    monkeypatch.setattr(direct_model, "open_model", missing)
    assert command.run(["--model", "/nowhere"]) == 2
    err = capsys.readouterr().err
    assert "There is no model" in err
    assert "Traceback" not in err
