"""What the code never does: run text as code, read pickles, ask a network, take a schema from elsewhere."""

from __future__ import annotations

import ast
import json
import socket
import urllib.error
import urllib.request

import pytest
from conftest import EXTENSION
from exllama_guard.errors import SchemaError
from exllama_guard.panel.card import Visitor
from exllama_guard.panel.desk import Desk
from exllama_guard.settings import Settings
from exllama_guard.testing import make_monitor
from exllama_guard.tools.calls import compile_checker

FILES = sorted(EXTENSION.rglob("*.py"))
RUNS_TEXT = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
PICKLES = {
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "pty",
    "telnetlib",
}
# Who may speak over a network, to whom, and who has it done.
NETWORK = {
    "socket",
    "ssl",
    "http.client",
    "urllib.request",
    "urllib.error",
    "requests",
    "httpx",
    "aiohttp",
    "ftplib",
}
SPEAKS = {
    "exllama_guard/backends/llama_cpp.py": "llama.cpp's own server on this machine",
    "exllama_guard/host/tools/constrain.py": "llama.cpp's own server on this machine",
    "exllama_guard/probes/modes/llama_cpp.py": "the llama.cpp server that it starts on this machine",
    "exllama_guard/commands/replay.py": "the WebUI that the command line names",
    "exllama_guard/standalone/run.py": "looks for a free port on this machine",
}
FORBIDDEN = {  # function: what it must be called with
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}


def calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def name_of(node):
    """`a.b.c` of a name or an attribute; "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = name_of(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def keyword(call, name):
    return next(
        (k.value.value for k in call.keywords if k.arg == name and isinstance(k.value, ast.Constant)), None
    )


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(EXTENSION).as_posix())
def test_no_file_runs_text_reads_pickles_or_asks_a_network(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    short = path.relative_to(EXTENSION).as_posix()
    imported = set(imports(tree))
    assert not imported & PICKLES
    if imported & NETWORK:
        assert short in SPEAKS, f"{short} imports {imported & NETWORK}"
    for call in calls(tree):
        name = name_of(call.func)
        place = f"{short}:{call.lineno}"
        assert name not in RUNS_TEXT, place
        assert name not in {"os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "tempfile.mktemp"}, (
            place
        )
        assert not any(k.arg == "shell" and getattr(k.value, "value", None) for k in call.keywords), place
        assert not any(
            k.arg == "trust_remote_code" and getattr(k.value, "value", None) is not False
            for k in call.keywords
        ), place
        if name in FORBIDDEN:
            argument, wanted = FORBIDDEN[name]
            assert keyword(call, argument) is wanted, f"{place}: {name} needs {argument}={wanted}"


def test_the_file_list_is_not_empty_and_the_exceptions_are_used():
    assert len(FILES) > 150
    using = {
        path.relative_to(EXTENSION).as_posix()
        for path in FILES
        if set(imports(ast.parse(path.read_text(encoding="utf-8")))) & NETWORK
    }
    assert using <= set(SPEAKS)
    assert len(using) > 1


def test_this_test_has_no_network(no_network):
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen("http://example.org/", timeout=1)
    assert len(no_network) == 2
    no_network.clear()


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/s.json", "https://example.org/x#/y", "file:///etc/passwd"]
)
def test_a_schema_that_points_elsewhere_is_refused_and_not_fetched(address, no_network):
    with pytest.raises(SchemaError):
        compile_checker({"properties": {"a": {"$ref": address}}})
    assert no_network == []


@pytest.mark.parametrize(
    "name", ["../../secret", "/etc/passwd", "..\\..\\secret", "traces-1.jsonl", "\x00", "a/../../b"]
)
def test_no_id_that_a_page_sends_leads_to_a_file(tmp_path, name):
    """Turns are looked up by their id among what was read; no id, chat or model becomes a part of a path."""
    (tmp_path / "secret").write_text('{"secret": 1}')
    folder = tmp_path / "a" / "traces"
    folder.mkdir(parents=True)
    desk = Desk(make_monitor(Settings(trace_folder=str(folder))), lifecycle=lambda: None)
    asked = {"v": -1, "tab": "turn", "turn": name, "filter": {"chat": name, "model": name}, "have": {}}
    for tab in ("turn", "history", "tools", "model"):
        answer = desk.answer(json.dumps({**asked, "tab": tab}), Visitor(None, None))
        assert "secret" not in answer.replace(json.dumps(name)[1:-1], "")
        assert "root:" not in answer
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "secret", "traces"]
