"""Steps a generator of the host's inside a context."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

__all__ = ["stepped"]

T = TypeVar("T")
V = TypeVar("V")


def stepped(variable: ContextVar[T], value: T, inner: Iterator[V]) -> Generator[V, None, Any]:
    """`inner`, each step and the closing of which run while `variable` holds `value`; returns what it does.

    The host runs the steps of one reply on different threads, so a context that was set once would be lost,
    and between two steps another reply may run on this one.
    """
    try:
        while True:
            token = variable.set(value)
            try:
                item = next(inner)
            except StopIteration as end:
                return end.value
            finally:
                variable.reset(token)
            yield item
    finally:
        token = variable.set(value)
        try:
            close = getattr(inner, "close", None)
            if close is not None:
                close()
        finally:
            variable.reset(token)
