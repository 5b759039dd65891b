"""What the lock can promise on a loader: enforced while decoding, checked before execution, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["LOADERS", "LockMode", "Promise", "promise_on"]


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

LOADERS = ("Transformers", "ExLlamav3_HF", "ExLlamav2_HF", "ExLlamav3", "ExLlamav2", "llama.cpp")


def promise_on(loader: str, mode: LockMode, unenforced_reason: str = "") -> Promise:
    """The promise for one tool.

    Args:
        loader: The host's name of the loader.
        mode: The setting.
        unenforced_reason: Why this tool's schema cannot be enforced; empty when it can.
    """
    if mode is LockMode.OFF:
        return Promise(NOTHING, "The tool lock is off; choose 'check' or more in the settings.")
    if mode is LockMode.CHECK:
        return Promise(CHECKED)
    if unenforced_reason:
        return Promise(CHECKED, unenforced_reason)
    if loader in LOADERS:
        return Promise(ENFORCED)
    return Promise(CHECKED, f"The loader {loader or '(none)'} has no way to constrain what is written.")
