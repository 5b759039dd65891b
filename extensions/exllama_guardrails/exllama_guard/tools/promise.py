"""What the lock can promise on a loader: enforced while decoding, checked before execution, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["LockMode", "Promise", "promise_of"]


class LockMode(str, Enum):
    """The setting `tool_lock`."""

    OFF = "off"
    CHECK = "check"
    ENFORCE_CALLS = "enforce-calls"
    ENFORCE_ALWAYS = "enforce-always"

    @property
    def enforces(self) -> bool:
        """True when decoding is constrained."""
        return self in (LockMode.ENFORCE_CALLS, LockMode.ENFORCE_ALWAYS)


@dataclass(frozen=True, slots=True)
class Promise:
    """The strongest thing that holds, and why not more."""

    text: str  # "enforced while decoding", "checked before execution" or "not available"
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.text}: {self.reason}" if self.reason else self.text


ENFORCED = "enforced while decoding"
CHECKED = "checked before execution"
NOTHING = "not available"


def promise_of(mode: LockMode, unenforced_reason: str = "") -> Promise:
    """The promise for one tool; `unenforced_reason` is why it cannot be enforced, empty when it can."""
    if mode is LockMode.OFF:
        return Promise(NOTHING, "The tool lock is off; choose 'check' or more in the settings.")
    if mode is LockMode.CHECK:
        return Promise(CHECKED)
    return Promise(CHECKED, unenforced_reason) if unenforced_reason else Promise(ENFORCED)
