"""A hash-locked list: whether it has a wheel of everything for this machine, and what of it pip is given."""

from __future__ import annotations

import platform
import re
import sys
from dataclasses import dataclass

__all__ = ["FITS", "ONLY_CUDA", "LockedList", "Machine", "locked_list", "this_machine"]

FITS, ONLY_CUDA = "# fits", "# only with CUDA"  # the lines of its head, each with words behind

# Which build of torch comes is the user's choice, so its hash cannot be known beforehand.
_NOT_LOCKED = re.compile(r"(?:torch|triton|(?:nvidia|cuda)-[a-z0-9-]+)\Z")
_GLIBC = "glibc-"


@dataclass(frozen=True, slots=True)
class Machine:
    """A system with its processor and a Python version, as a list's head spells them.

    `system` is "" for what no list is made for (another C library), `python` for another Python than CPython.
    """

    system: str
    python: str
    glibc: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LockedList:
    """Entries as pip reads them, by the project's name as the list spells it, and what its head says."""

    entries: tuple[tuple[str, str], ...]
    fits: tuple[Machine, ...]
    only_cuda: frozenset[str]

    def without(self, *, cuda: bool) -> str:
        """The list for pip: without torch and what belongs to it, which are installed before, by version."""
        dropped = frozenset[str]() if cuda else self.only_cuda
        return "".join(
            text for name, text in self.entries if name not in dropped and _NOT_LOCKED.match(name) is None
        )

    def fits_on(self, machine: Machine) -> bool:
        """True where every entry has a wheel for that Python on that system."""
        return any(
            (one.system, one.python) == (machine.system, machine.python) and one.glibc <= machine.glibc
            for one in self.fits
        )


def locked_list(text: str) -> LockedList:
    """The list that `text` holds."""
    fits: list[Machine] = []
    only_cuda = set[str]()
    entries: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith(FITS):
            fits += _machines(line.removeprefix(FITS).split())
        elif line.startswith(ONLY_CUDA):
            only_cuda |= set(line.removeprefix(ONLY_CUDA).split())
        elif line[:1].isalnum():
            entries.append((line.partition("==")[0], line))
        elif line[:1].isspace() and entries:
            name, before = entries[-1]
            entries[-1] = (name, before + line)
    return LockedList(tuple(entries), tuple(fits), frozenset(only_cuda))


def _machines(words: list[str]) -> list[Machine]:
    """Of a head line `SYSTEM [glibc-2.28] 3.10 3.11 ...`."""
    glibc = [word.removeprefix(_GLIBC) for word in words if word.startswith(_GLIBC)]
    oldest = _numbers(glibc[0]) if glibc else ()
    return [Machine(words[0], word, oldest) for word in words[1:] if word[:1].isdigit()]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def this_machine() -> Machine:
    """What this process runs on."""
    processor = platform.machine().lower()
    python = "{}.{}".format(*sys.version_info[:2]) if sys.implementation.name == "cpython" else ""
    if sys.platform != "linux":
        return Machine(f"{sys.platform}-{processor}", python)
    library, version = platform.libc_ver()
    system = f"linux-{processor}" if library == "glibc" else ""
    return Machine(system, python, _numbers(version))
