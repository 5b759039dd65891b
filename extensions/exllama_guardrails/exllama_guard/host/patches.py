"""Replaces functions of the host so that each is replaced once and can be taken out again, come what may.

What is put into the host is a door: it calls the replacement while that is in force, and the original once it
is taken out. So a door that another extension wrapped since, or that the page holds, does nothing any more.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

__all__ = ["DOOR", "MARK", "Patch", "Patches"]

MARK = "_exllama_guard_original"  # on what stands in the host: the function that it stands for
DOOR = "_exllama_guard_door"  # there too; `functools.wraps` copies both to a wrapper around it


class Patch:
    """Leads to a replacement or to the original. Which one is read at each call."""

    def __init__(self, original: Callable[..., Any]) -> None:
        """Leads to `original` until it is told otherwise."""
        self.original = original
        self.target = original
        self.function = self._made()

    @property
    def leads_to_us(self) -> bool:
        """Whether a replacement is in force."""
        return self.target is not self.original

    def _made(self) -> Callable[..., Any]:
        """What is put into the host: a generator function where the original is one (Gradio asks)."""
        if inspect.isgeneratorfunction(self.original):

            @functools.wraps(self.original)
            def patch(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the host's signature
                return (yield from self.target(*args, **kwargs))

        else:

            @functools.wraps(self.original)
            def patch(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the host's signature
                return self.target(*args, **kwargs)

        setattr(patch, MARK, self.original)
        setattr(patch, DOOR, self)
        return patch


@dataclass(frozen=True, slots=True)
class _Patch:
    module: ModuleType
    name: str
    original: Any
    replacement: Any
    patch: Patch | None


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
        present = getattr(module, name)
        if inspect.isclass(present):
            return self._replace_class(module, name, present, wrap)
        patch: Patch | None = getattr(present, DOOR, None)
        if patch is None and hasattr(present, MARK):
            return False
        if patch is not None and patch.leads_to_us:
            return False
        if patch is None:
            patch = Patch(present)
            setattr(module, name, patch.function)
        # else it was taken out before, and is still there because somebody wrapped it
        patch.target = wrap(patch.original)
        self._done.append(_Patch(module, name, patch.original, patch.function, patch))
        return True

    def undo(self) -> tuple[str, ...]:
        """Takes everything out, newest first; names where a door stays, since someone wrapped it."""
        left: list[str] = []
        while self._done:
            patch = self._done.pop()
            if patch.patch is not None:
                patch.patch.target = patch.patch.original
            if getattr(patch.module, patch.name, None) is patch.replacement:
                setattr(patch.module, patch.name, patch.original)
            else:
                left.append(f"{patch.module.__name__}.{patch.name}")
        return tuple(left)

    def _replace_class(
        self, module: ModuleType, name: str, present: type, wrap: Callable[[Any], Any]
    ) -> bool:
        if MARK in vars(present):
            return False
        replacement = wrap(present)
        setattr(replacement, MARK, present)
        setattr(module, name, replacement)
        self._done.append(_Patch(module, name, present, replacement, None))
        return True
