"""Un-ticked in the Session tab: nothing is observed, and the panel says that it is off and how to go on."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest
from exllama_guard.host import hooks, start, webui
from exllama_guard.host.session import Session
from host_modules import host_modules

EXTENSION = Path(__file__).resolve().parents[2] / "extensions" / "exllama_guardrails"


@pytest.fixture
def host(monkeypatch):
    """The names of a host that loaded this extension and no other."""
    shared, extensions = host_modules(monkeypatch, "shared", "extensions")
    script = types.ModuleType("script")
    script.state_modifier = hooks.state_modifier
    shared.args = types.SimpleNamespace(extensions=["exllama_guardrails"])
    shared.gradio = {}
    shared.model, shared.model_name = None, "None"
    extensions.state = {"exllama_guardrails": [True, 0, script]}
    return types.SimpleNamespace(shared=shared, extensions=extensions)


@pytest.mark.parametrize(
    ("ticked", "on"),
    [
        (["exllama_guardrails"], True),
        (["a", "exllama_guardrails"], True),
        ([], False),
        (None, False),
        (["a"], False),
    ],
)
def test_it_is_on_only_while_the_hosts_list_names_it(host, ticked, on):
    host.shared.args.extensions = ticked
    assert webui.is_switched_on() is on


def test_a_host_without_such_a_list_has_it_on(host):
    del host.shared.args.extensions
    assert webui.is_switched_on()
    host.extensions.state["exllama_guardrails"][0] = False
    assert not webui.is_switched_on()


_DRAWN_THREE_TIMES = """
import sys, types
sys.path.append(sys.argv[1])
from exllama_guard.host import hooks, start
script = types.SimpleNamespace(state_modifier=hooks.state_modifier)
shared, extensions = types.ModuleType("modules.shared"), types.ModuleType("modules.extensions")
shared.args, shared.gradio, shared.model, shared.model_name = types.SimpleNamespace(), {}, None, "None"
extensions.state = {"exllama_guardrails": [True, 0, script]}
package = types.ModuleType("modules")
sys.modules |= {"modules": package, "modules.shared": shared, "modules.extensions": extensions}
import gradio as gr
for shared.args.extensions in (["exllama_guardrails"], [], ["exllama_guardrails"]):
    with gr.Blocks() as blocks:
        start.ui()
    drawn = str(blocks.config)
    print("eg-ask" in drawn, "The guardrails are off" in drawn, "Session tab" in drawn)
"""


def test_the_panel_says_that_it_is_off_and_comes_back():
    pytest.importorskip("gradio")
    command = [sys.executable, "-c", _DRAWN_THREE_TIMES, str(EXTENSION)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split("\n")[:3] == ["True False False", "False True True", "True False False"]


def test_a_model_that_is_loaded_meanwhile_is_not_looked_at(host, monkeypatch):
    looked = []
    monkeypatch.setattr(start, "loaded_model", lambda: looked.append(1))
    monitor = types.SimpleNamespace(settings=None, model=None, model_changed=lambda *a: looked.append(2))
    now = Session(monitor, lifecycle=types.SimpleNamespace(model_changed=looked.append))
    monkeypatch.setattr(now.tools, "model_changed", lambda: None)
    host.shared.args.extensions = []
    start._model_assigned(now)
    assert looked == []
    host.shared.args.extensions = ["exllama_guardrails"]
    start._model_assigned(now)
    assert looked == [2, 1, None]
