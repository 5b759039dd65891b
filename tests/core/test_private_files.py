"""What is kept of chats, models and documents may be read by its owner only; nothing else is written."""

from __future__ import annotations

import ast
import os
import re
import stat

import numpy as np
import pytest
from conftest import EXTENSION
from exllama_guard.commands.probing import _write
from exllama_guard.core.private_file import replacing
from exllama_guard.core.turns import Finish, TurnRequest
from exllama_guard.probes.run import Generation
from exllama_guard.probes.run_cache import RunCache
from exllama_guard.settings import Settings
from exllama_guard.sources.knowledge_cache import VectorCache
from exllama_guard.testing import make_monitor
from exllama_guard.trace.files import TraceWriter

PACKAGE = EXTENSION / "exllama_guard"
# Files that a user names on the command line, and what the set-up makes of packages and models.
ELSEWHERE = ("commands", "standalone")
WRITING = re.compile(r"(?:[wax]b?t?\+?|rb?\+b?)")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")


def traces(folder):
    monitor = make_monitor(Settings(), trace=TraceWriter(folder / "deep" / "traces"))
    monitor.open_turn(TurnRequest(turn_id="t", question="Q?", snippets=())).close("A.", Finish.COMPLETE)
    assert monitor.wait_until_idle(10)


def kept_runs(folder):
    RunCache(folder / "runs.jsonl").add("key", Generation("text", 1, 0.1, 0.2))


def vectors(folder):
    VectorCache(folder, "name").save({VectorCache.key("a"): np.ones(3, np.float32)})


def reports(folder):
    _write(folder / "report.html", "text")


@pytest.mark.parametrize("write", [traces, kept_runs, vectors, reports])
def test_a_file_that_is_written_is_its_owners_alone(tmp_path, write):
    before = os.umask(0)
    try:
        write(tmp_path)
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_file_whose_new_content_fails_stays_as_it_was_and_nothing_is_left(tmp_path):
    path = tmp_path / "deep" / "kept.json"
    with replacing(path) as file:
        file.write(b"old")
    with pytest.raises(OSError, match="full"), replacing(path) as file:
        file.write(b"new")
        raise OSError("full")
    assert [(one.name, one.read_bytes()) for one in path.parent.iterdir()] == [("kept.json", b"old")]


def test_no_other_way_of_writing_a_file_is_used():
    """`os.open` with its mode and `mkstemp` (which gives 0600) are the ways; `open` for writing is not."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] in ELSEWHERE:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            given = [
                a.value
                for a in (*node.args, *(k.value for k in node.keywords))
                if isinstance(a, ast.Constant)
            ]
            writes = name == "open" and any(
                isinstance(mode, str) and WRITING.fullmatch(mode) for mode in given
            )
            if writes or name in ("write_text", "write_bytes", "NamedTemporaryFile"):
                found.append(f"{path.name}:{node.lineno}")
    assert found == []
