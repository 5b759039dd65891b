"""Loads the extension in a host and takes it out again: `python uninstall_program.py HOST_DIR`.

Prints as JSON what of the host's names differs from before, with nobody else about and where another
extension wrapped the same functions after ours.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import json
import sys
import threading
from pathlib import Path

from scripted_host import Host, chat_turn

# Names that the host itself assigns while it runs a turn or loads a model and extensions.
HOST_OWN = {
    "modules.shared.model", "modules.shared.tokenizer", "modules.shared.model_name",
    "modules.shared.settings", "modules.shared.stop_everything", "modules.shared.generation_lock",
    "modules.extensions.state", "modules.models.last_generation_time",
}  # fmt: skip


def names():
    """Every value that a module of the host holds, by its full name, and the class of each module."""
    found = {}
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] == "modules" and module is not None:
            found[f"{name} class"] = type(module)
            found.update({f"{name}.{key}": value for key, value in vars(module).items() if key[:2] != "__"})
    return found


def differing(before):
    now = names()
    modules = {name.removesuffix(" class") for name in before if name.endswith(" class")}
    return sorted(
        name
        for name in before.keys() | now.keys()
        if before.get(name, now) is not now.get(name, before)
        and name not in HOST_OWN
        and (name in before or (name.rpartition(".")[0] in modules and not name.endswith(" class")))
        and not inspect.ismodule(now.get(name))
    )


class Watched(Host):
    """Notes the host's names before the extension is loaded."""

    def load(self):
        importlib.import_module("modules.models")
        importlib.import_module("modules.ui_model_menu")
        for name in ("tool_use", "tool_parsing", "api.completions"):
            with contextlib.suppress(ImportError):
                importlib.import_module(f"modules.{name}")
        self.shared.args.api = True
        self.before = names()
        return super().load()


def wrapped(ours, note):
    """What another extension would put in the place of a function."""
    if inspect.isgeneratorfunction(ours):

        @functools.wraps(ours)
        def theirs(*args, **kwargs):
            note()
            return (yield from ours(*args, **kwargs))

    else:

        @functools.wraps(ours)
        def theirs(*args, **kwargs):
            note()
            return ours(*args, **kwargs)

    return theirs


def another_extension(changed):
    """Wraps each function that ours wrapped; gives the calls that it saw and a way to take it out."""
    calls, undo = [], []
    for name in changed:
        module_name, _, attribute = name.rpartition(".")
        module = sys.modules.get(module_name)
        ours = getattr(module, attribute, None)
        if callable(ours) and not inspect.isclass(ours):
            theirs = wrapped(ours, functools.partial(calls.append, name))
            setattr(module, attribute, theirs)
            undo.append((module, attribute, ours, theirs))
    return calls, undo


def main():
    sys.stdout, out = sys.stderr, sys.stdout
    host = Watched(Path(sys.argv[1]).resolve())
    start = importlib.import_module("exllama_guard.host.start")
    setup = functools.partial(start.setup, {})
    told = {"patched": differing(host.before)}
    said = chat_turn(host)
    host.recorder.turns.clear()
    told["left"] = start.uninstall()
    told["differs_after"] = differing(host.before)
    told["same_answer"] = chat_turn(host) == said
    told["observed_after"] = len(host.recorder.turns)

    setup()
    told["patched_again"] = differing(host.before)
    chat_turn(host)
    told["observed_again"] = len(host.recorder.turns)
    calls, undo = another_extension(told["patched_again"])
    setup()  # a restart of the page
    chat_turn(host)
    told["observed_beside"] = len(host.recorder.turns) - told["observed_again"]
    told["theirs_called"] = len(set(calls))
    host.recorder.turns.clear()
    told["left_beside"] = sorted(start.uninstall())
    told["same_answer_beside"] = chat_turn(host) == said
    told["observed_after_beside"] = len(host.recorder.turns)
    told["theirs_stay"] = all(getattr(module, name) is theirs for module, name, _, theirs in undo)
    for module, name, ours, _ in reversed(undo):
        setattr(module, name, ours)
    told["same_answer_last"] = chat_turn(host) == said
    told["observed_last"] = len(host.recorder.turns)
    setup()
    chat_turn(host)
    told["observed_once_more"] = len(host.recorder.turns)
    told["left_last"] = start.uninstall()
    told["differs_last"] = differing(host.before)
    told["threads"] = [
        thread.name for thread in threading.enumerate() if thread.name.startswith("guardrails-life")
    ]
    print(json.dumps(told), file=out)


if __name__ == "__main__":
    main()
