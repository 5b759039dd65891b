"""The arrows between the layers hold: script → host → monitor → core ← adapters; core stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import EXTENSION

PACKAGE = EXTENSION / "exllama_guard"

# layer → the layers of this package that it may import
ALLOWED = {
    "errors": set(),
    "settings": {"errors"},
    "core": {"core", "errors", "settings"},
    "grounding": {"grounding", "core", "errors"},
    "tools": {"tools", "core", "errors"},
    "acting": {"acting", "core"},
    "trace": {"trace", "core", "errors"},
    "report": {"report", "core"},
    "embedders": {"embedders", "core", "errors"},
    "verifiers": {"verifiers", "core", "errors"},
    "backends": {"backends", "core", "errors"},
    "sources": {"sources", "grounding", "core", "errors"},
    "monitor": {"monitor", "grounding", "tools", "core", "errors", "settings", "assembly"},
    "assembly": {
        *("core", "errors", "settings", "monitor", "grounding", "trace", "embedders", "verifiers", "sources"),
    },
    "lifecycle": {"lifecycle", "backends", "core", "errors", "settings"},
    "probes": {
        *("probes", "grounding", "tools", "lifecycle", "trace", "report", "backends"),
        *("core", "errors", "standalone"),
    },
    "panel": {
        *("panel", "probes", "grounding", "tools", "lifecycle", "trace", "report", "monitor"),
        *("core", "errors", "settings", "commands", "host"),
    },
}
PURE = {"core", "grounding", "tools", "acting", "trace", "report", "monitor", "settings", "errors"}
ONLY_IN = {"gradio": {"panel", "standalone"}, "modules": {"host", "standalone"}}


def imports_of(path: Path) -> set[str]:
    """Absolute names of everything that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_the_layers_below_it(path: Path) -> None:
    layer = layer_of(path)
    inner = {name.split(".")[1] for name in imports_of(path) if name.startswith("exllama_guard.")}
    if layer in ALLOWED:
        assert inner <= ALLOWED[layer] | {"__version__"}, f"{path.name} reaches out of its layer"
    for outside, layers in ONLY_IN.items():
        if any(name == outside or name.startswith(f"{outside}.") for name in imports_of(path)):
            assert layer in layers, f"{path.name} imports {outside}"


def test_core_brings_no_heavy_library_along() -> None:
    modules = [
        ".".join(("exllama_guard", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path in FILES
        if layer_of(path) in PURE
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name.removesuffix('.__init__'))\n"
        "heavy = {'torch', 'gradio', 'transformers', 'sentence_transformers', 'modules', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=EXTENSION, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def broad_excepts(path: Path) -> list[int]:
    """Lines of `except:`, `except Exception` and `except BaseException`."""
    handlers = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.ExceptHandler)]
    return [
        handler.lineno
        for handler in handlers
        if handler.type is None
        or (isinstance(handler.type, ast.Name) and handler.type.id in {"Exception", "BaseException"})
    ]


def test_only_the_hooks_guard_catches_everything() -> None:
    found = {str(path.relative_to(PACKAGE)): lines for path in FILES if (lines := broad_excepts(path))}
    assert set(found) <= {"host/hooks.py"}, found
    assert len(found.get("host/hooks.py", [])) <= 1, found
