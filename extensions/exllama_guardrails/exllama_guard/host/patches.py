"""Replaces functions of the host so that each is replaced once and can be put back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

__all__ = ["Patches", "MARK"]

MARK = "_exllama_guard_original"  # on a replacement: the function that it stands for


@dataclass(frozen=True, slots=True)
class _Patch:
    module: ModuleType
    name: str
    original: Callable[..., Any]
    replacement: Callable[..., Any]


class Patches:
    """The replacements that are in place, oldest first. Used by one thread: setup and tests."""

    def __init__(self) -> None:
        self._done: list[_Patch] = []

    def replace(
        self, module: ModuleType, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
    ) -> bool:
        """Puts `wrap(original)` in the place of `module.name`; False where that is ours already.

        Raises:
            AttributeError: The module has no such name.
        """
        original = getattr(module, name)
        if hasattr(original, MARK):
            return False
        replacement = wrap(original)
        setattr(replacement, MARK, original)
        setattr(module, name, replacement)
        self._done.append(_Patch(module, name, original, replacement))
        return True

    def undo(self) -> tuple[str, ...]:
        """Puts everything back, newest first; names of those left, because someone wrapped ours since."""
        left: list[str] = []
        while self._done:
            patch = self._done.pop()
            if getattr(patch.module, patch.name, None) is patch.replacement:
                setattr(patch.module, patch.name, patch.original)
            else:
                left.append(f"{patch.module.__name__}.{patch.name}")
        return tuple(left)
