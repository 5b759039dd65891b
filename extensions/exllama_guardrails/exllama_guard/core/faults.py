"""Which faults of ours were told already, so that one that comes with every turn is logged once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from types import TracebackType

__all__ = ["Fault", "FaultLog"]

_KEPT = 200  # kinds of faults that are remembered; the one that was seen longest ago is forgotten first


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault as it is told: `key` names its kind, `sentence` is the first that was said of it."""

    key: str
    sentence: str
    is_new: bool


class FaultLog:
    """Kinds of faults with what was said of each. Thread-safe: the lock protects them."""

    def __init__(self) -> None:
        """Knows of none."""
        self._lock = threading.Lock()
        self._said: OrderedDict[str, str] = OrderedDict()

    def note(self, error: BaseException, sentence: str) -> Fault:
        """The fault; one of the same type from the same line of code is the same, wherever it was caught."""
        key = f"fault {type(error).__name__} {_origin(error.__traceback__)}"
        with self._lock:
            is_new = key not in self._said
            said = self._said.setdefault(key, sentence)
            self._said.move_to_end(key)
            while len(self._said) > _KEPT:
                self._said.popitem(last=False)
        return Fault(key, said, is_new)

    def forget(self) -> None:
        """Has every fault told again."""
        with self._lock:
            self._said.clear()


def _origin(trace: TracebackType | None) -> str:
    """`file:line` in which the error was raised; "" for an error that never was."""
    place = ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
