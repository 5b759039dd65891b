"""Hides each name of the host that ours relies on, one after the other: `versions_program.py HOST_DIR`.

The host goes on with its own names; ours sees a module without the name, as in a version that renamed it.
Prints as JSON what was told, whether the turn was answered and observed, and what broke.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import types
from pathlib import Path

from fuzz_program import Records
from scripted_host import ANSWER, Host, chat_turn


class Without(types.ModuleType):
    """The module, but for some of its names."""

    def __init__(self, module, hidden):
        super().__init__(module.__name__)
        object.__setattr__(self, "_seen", (module, frozenset(hidden)))

    def __getattribute__(self, name):
        if name in ("__class__", "_seen"):
            return object.__getattribute__(self, name)
        module, hidden = object.__getattribute__(self, "_seen")
        if name in hidden:
            raise AttributeError(f"module has no attribute {name!r}")
        if name == "__dict__":
            return {key: value for key, value in vars(module).items() if key not in hidden}
        return getattr(module, name)

    def __setattr__(self, name, value):
        if name == "__class__":
            object.__setattr__(self, name, value)
        else:
            setattr(object.__getattribute__(self, "_seen")[0], name, value)


def tried(host, start, name, whole):
    """One start and turn without the name, or without its whole module."""
    before = sys.modules.get(name.module)
    find = importlib.util.find_spec
    if whole:
        sys.modules[name.module] = None  # an import of it fails
        importlib.util.find_spec = lambda asked, *more: None if asked == name.module else find(asked, *more)
    else:
        sys.modules[name.module] = Without(before, name.names)
    host.recorder.turns, host.recorder.problems = [], []
    raised = ""
    try:
        start.setup({})
        said = chat_turn(host)
    except Exception as error:  # noqa: BLE001 - the test shows it
        said, raised = None, f"{type(error).__name__}: {error}"
    left = start.uninstall()
    sys.modules[name.module] = before
    importlib.util.find_spec = find
    return {
        "told": list(host.recorder.problems), "observed": len(host.recorder.turns), "raised": raised,
        "answered": bool(said) and said["internal"][1] == ANSWER, "left": left,
    }  # fmt: skip


def main():
    sys.stdout, out = sys.stderr, sys.stdout
    records = Records()
    logging.getLogger().addHandler(records)
    host = Host(Path(sys.argv[1]).resolve())
    start = importlib.import_module("exllama_guard.host.start")
    names = importlib.import_module("exllama_guard.host.names")
    host.shared.args.api = True
    start.uninstall()
    results = {"nothing hidden": names.missing_parts()}
    for name in names.NAMES:
        if not name.expected():
            continue
        importlib.import_module(name.module)
        records.lines.clear()
        results[name.label] = {
            **tried(host, start, name, whole=False),
            "off": name.off,
            "log": records.lines[:],
        }
    for module in ("modules.models", "modules.tool_use", "modules.tool_parsing"):
        name = next(name for name in names.NAMES if name.module == module)
        if name.expected():
            results[module] = {
                **tried(host, start, name, whole=True),
                "off": name.off,
                "log": records.lines[:],
            }
    host.recorder.turns, host.recorder.problems = [], []
    start.setup({})
    chat_turn(host)
    results["everything there again"] = [len(host.recorder.turns), host.recorder.problems]
    print(json.dumps(results), file=out)


if __name__ == "__main__":
    main()
