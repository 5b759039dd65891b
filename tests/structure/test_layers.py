"""The rooms and what each may import: values below, what the product does above, two edges at the sides."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import EXTENSION
from structure.rooms import FILES, MODULES, PACKAGE, circles, imports_of, inner_imports, module_of, room_of

VALUES = {"core", "errors"}
# room → the rooms that it may import, besides itself (docs/architecture.md shows the same)
ALLOWED = {
    "errors": set(),
    "settings": {"errors"},
    "core": {"errors"},
    "grounding": VALUES,
    "tools": VALUES,
    "acting": {"core"},
    "trace": VALUES,
    "report": {"core"},
    "backends": VALUES,
    "embedders": VALUES,
    "verifiers": VALUES,
    "sources": VALUES | {"grounding"},
    "loaders": VALUES | {"backends", "tools"},
    "lifecycle": VALUES | {"settings", "backends", "loaders"},
    "monitor": VALUES | {"settings", "grounding", "tools"},
    "second_reader": VALUES | {"settings", "grounding"},
    "probes": VALUES | {"", "backends", "grounding", "lifecycle", "report", "tools", "trace"},
    "assembly": {
        *("core", "settings", "embedders", "grounding", "monitor", "sources", "trace", "verifiers"),
    },
    "checking": {"core", "settings", "assembly", "monitor"},
    "panel": VALUES
    | {
        *("settings", "grounding", "lifecycle", "loaders", "monitor", "probes", "report", "second_reader"),
        *("tools", "trace"),
    },
    "host": {
        *("core", "errors", "settings", "acting", "assembly", "backends", "grounding", "lifecycle"),
        *("loaders", "monitor", "panel", "probes", "second_reader", "sources", "tools"),
    },
    "standalone": VALUES | {"backends", "host", "loaders", "sources"},
    "commands": {
        *("core", "errors", "settings", "assembly", "backends", "embedders", "lifecycle", "loaders"),
        *("monitor", "probes", "report", "second_reader", "sources", "standalone", "tools", "trace"),
    },
    "testing": {"core", "settings", "backends", "grounding", "monitor"},
    "": {"checking", "host"},  # exllama_guard/__init__.py: `check` and `hand_over`, on first use
}
# Rooms whose modules are taken one by one: values that everybody speaks, edges, single files, commands.
WITHOUT_DOOR = {
    *(
        "core",
        "errors",
        "settings",
        "assembly",
        "checking",
        "testing",
        "host",
        "panel",
        "standalone",
        "commands",
    ),
    "",
}
PAST_THE_DOOR = {("testing", "backends.fake")}  # the fake is no part of the product
PURE = {
    *(
        "errors",
        "settings",
        "core",
        "grounding",
        "tools",
        "acting",
        "trace",
        "report",
        "lifecycle",
        "loaders",
        "second_reader",
    ),
    *("probes", "monitor", "backends", "embedders", "verifiers", "sources", "assembly", "checking"),
}
HEAVY = ("torch", "gradio", "transformers", "sentence_transformers", "modules", "pydantic", "llguidance")
ONLY_IN = {"gradio": {"panel.view", "standalone"}, "modules": {"host", "standalone"}}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_its_room_may_and_by_the_door(path: Path) -> None:
    module = module_of(path)
    room = room_of(module)
    for other in inner_imports(path):
        if room_of(other) == room:
            continue
        assert room_of(other) in ALLOWED[room], f"{module} reaches out of its room: {other}"
        door = MODULES[other].name == "__init__.py" or room_of(other) in WITHOUT_DOOR
        assert door or (module, other) in PAST_THE_DOOR, f"{module} takes {other} past the door of its room"
    for outside, places in ONLY_IN.items():
        if any(name == outside or name.startswith(f"{outside}.") for name in imports_of(path)):
            assert {module, room} & places, f"{module} imports {outside}"


def test_every_room_is_in_the_table() -> None:
    assert {room_of(module) for module in MODULES} == set(ALLOWED)


def test_no_module_imports_itself_over_others() -> None:
    assert circles() == []


def test_each_room_can_be_the_first_that_is_imported() -> None:
    """A door imports the whole room, and is itself imported before any module behind it."""
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module('exllama_guard.' + name)\n"
        "    for known in [m for m in sys.modules if m.startswith('exllama_guard')]: del sys.modules[known]\n"
    )
    doors = [module for module, path in MODULES.items() if path.name == "__init__.py"]
    pure = [module for module in doors if room_of(module) in PURE]
    subprocess.run([sys.executable, "-c", code, *pure], cwd=EXTENSION, check=True, timeout=120)


def test_the_pure_rooms_bring_no_heavy_library_along() -> None:
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[2:]: importlib.import_module('exllama_guard.' + name)\n"
        "print(sorted(set(sys.argv[1].split()) & set(sys.modules)))"
    )
    pure = [module for module in MODULES if room_of(module) in PURE]
    command = [sys.executable, "-c", code, " ".join(HEAVY), *pure]
    done = subprocess.run(command, cwd=EXTENSION, capture_output=True, text=True, check=True, timeout=60)
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
    files = sorted(PACKAGE.rglob("*.py"))
    found = {str(path.relative_to(PACKAGE)): lines for path in files if (lines := broad_excepts(path))}
    assert set(found) <= {"host/guard.py"}, found
    assert len(found.get("host/guard.py", [])) <= 1, found
