"""Settings that are kept: in the host's own file, by its own function, and nothing else in it touched."""

from __future__ import annotations

import types
from dataclasses import replace

import pytest
import yaml
from exllama_guard.errors import UserError
from exllama_guard.host.keep import keep_settings, with_kept
from exllama_guard.settings import Settings
from host_modules import host_modules
from hypothesis import given
from hypothesis import strategies as st

FILE = """# mine, with a comment
preset:   Qwen3 - Thinking
exllama_guardrails-on_fail: annotate
exllama_guardrails-answer_schema: '{"a":

  1}'
exllama_guardrails-enabled: false
gallery-items: [1,  2]
exllama_guardrails_other-x: 1
"""
LEFT = """# mine, with a comment
preset:   Qwen3 - Thinking
exllama_guardrails-enabled: false
gallery-items: [1,  2]
exllama_guardrails_other-x: 1
"""


@pytest.fixture
def host(monkeypatch, tmp_path):
    shared, utils = host_modules(monkeypatch, "shared", "utils")
    shared.user_data_dir, shared.settings = tmp_path, {"exllama_guardrails-on_fail": "annotate", "seed": 1}
    shared.args = types.SimpleNamespace(settings=None)

    def save_file(name, contents):
        utils.saved = name
        with open(name, "w", encoding="utf-8") as file:  # noqa: PTH123 - as the host does it
            file.write(contents)

    utils.save_file = save_file
    return shared, utils, tmp_path / "settings.yaml"


def test_what_differs_from_the_defaults_is_kept_and_no_other_line_is_touched(host):
    shared, utils, file = host
    file.write_text(FILE, encoding="utf-8")
    said = keep_settings(
        replace(Settings(), on_fail="refuse", act_wait_ms=500.0, knowledge_folder='C:\\"docs" é')
    )
    text = file.read_text("utf-8")
    assert text.startswith(LEFT)
    read = yaml.safe_load(text)
    assert read["exllama_guardrails-on_fail"] == "refuse"
    assert read["exllama_guardrails-act_wait_ms"] == 500.0
    assert read["exllama_guardrails-knowledge_folder"] == 'C:\\"docs" é'
    assert "exllama_guardrails-answer_schema" not in read
    assert utils.saved == str(file)
    assert "3 settings" in said and "settings.yaml" in said
    assert shared.settings["exllama_guardrails-on_fail"] == "refuse" and shared.settings["seed"] == 1


def test_the_file_that_the_host_was_started_with_is_the_one(host, tmp_path):
    shared, _, file = host
    other = tmp_path / "other.yaml"
    other.write_text("seed: 3", encoding="utf-8")
    shared.args.settings = str(other)
    keep_settings(
        replace(Settings(), on_fail="refuse", trace_folder=str(tmp_path / "exllama_guardrails" / "traces"))
    )
    assert other.read_text("utf-8") == 'seed: 3\nexllama_guardrails-on_fail: "refuse"\n'
    assert not file.exists()


def test_a_host_that_refuses_to_write_is_said(host):
    _, utils, _ = host
    utils.save_file = lambda name, contents: None
    with pytest.raises(UserError, match="could not be written"):
        keep_settings(replace(Settings(), on_fail="refuse"))
    del utils.save_file
    with pytest.raises(
        UserError, match='put these lines .* on_fail: "refuse"'.replace(" on_fail", ".*on_fail")
    ):
        keep_settings(replace(Settings(), on_fail="refuse"))


@given(
    st.lists(st.sampled_from(["a: 1", "# c", "", "b:", "  - x", "- y", "exllama_guardrails-on_fail: show"]))
)
def test_kept_twice_is_kept_once_and_every_foreign_line_stays(lines):
    before = "\n".join(lines)
    once = with_kept(before, {"on_fail": "refuse"})
    assert with_kept(once, {"on_fail": "refuse"}) == once
    assert once.count("on_fail") == 1
    if "exllama_guardrails-on_fail: show" not in lines:
        assert once.startswith(before)
