"""Modules named as the host's, for tests that run without one."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def host_modules(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[ModuleType]:
    """Empty modules `modules.NAME` in the host's place while the test runs, in the order of `names`.

    A package comes before what is in it: "api", "api.typing".
    """
    made = {name: ModuleType(name) for name in ("modules", *(f"modules.{name}" for name in names))}
    made["modules"].__path__ = []
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(made[parent], child, module)
    return list(made.values())[1:]
