"""Which faults of ours were told already, so that one that comes with every turn is logged once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from types import TracebackType

__all__ = ["FaultLog"]

_KEPT = 200  # kinds of faults that are remembered; the one that was seen longest ago is forgotten first


class FaultLog:
    """Kinds of faults with how often each came. Thread-safe: the lock protects the counts."""

    def __init__(self) -> None:
        """Knows of none."""
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, str, int], int] = OrderedDict()

    def is_new(self, error: BaseException) -> bool:
        """True the first time that an error of this type comes from this line of code."""
        kind = (type(error).__name__, *_origin(error.__traceback__))
        with self._lock:
            count = self._seen[kind] = self._seen.get(kind, 0) + 1
            self._seen.move_to_end(kind)
            while len(self._seen) > _KEPT:
                self._seen.popitem(last=False)
        return count == 1

    def forget(self) -> None:
        """Has every fault told again."""
        with self._lock:
            self._seen.clear()


def _origin(trace: TracebackType | None) -> tuple[str, int]:
    """(file, line) in which the error was raised; ("", 0) for an error that never was."""
    place = ("", 0)
    while trace is not None:
        place = (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return place
