"""The rooms of the package as its imports show them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from conftest import EXTENSION

PACKAGE = EXTENSION / "exllama_guard"
# The small host's own `modules`, which stand in the place of the WebUI's: a host, not a part of it.
FILES = tuple(path for path in sorted(PACKAGE.rglob("*.py")) if "webui" not in path.parts)


def module_of(path: Path) -> str:
    """Dotted name of a file below the package: `tools.locks.run`, `tools` for its `__init__`; "" on top."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


MODULES = {module_of(path): path for path in FILES}


def room_of(module: str) -> str:
    return module.split(".")[0]


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Absolute names of everything that a file imports, anywhere in it, also for types only."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


@cache
def inner_imports(path: Path) -> frozenset[str]:
    """Modules of this package that a file imports, by their dotted names below it."""
    found = set()
    for name in imports_of(path):
        if name == "exllama_guard" or name.startswith("exllama_guard."):
            inner = name.removeprefix("exllama_guard").lstrip(".")
            found.add(inner if inner in MODULES else inner.rpartition(".")[0])
    return frozenset(found)


def circles() -> list[list[str]]:
    """Groups of modules each of which imports, over others, itself (Tarjan's strongly connected parts)."""
    graph = {module: inner_imports(path) - {module} for module, path in MODULES.items()}
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = low[module] = len(number)
        stack.append(module)
        for other in graph[module]:
            if other not in number:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], number[other])
        if low[module] == number[module]:
            part = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(part) > 1:
                found.append(sorted(part))

    for module in graph:
        if module not in number:
            visit(module)
    return found
