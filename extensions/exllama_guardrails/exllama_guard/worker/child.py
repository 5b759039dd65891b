"""The file that the process of its own starts with: takes over the pipes and the paths, then does its work.

It is run by its path and uses the standard library only until it has the paths of the process that started
it: whatever that can import, this can.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from contextlib import suppress
from typing import IO

_LINUX_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
_PATIENCE = 5  # steps of niceness: the model goes first, and a verdict still comes on a busy machine
_BEGAN = b'["t",0,"began",null]'  # as `values.encode` has it, before numpy can be imported


def _end_with(parent: int) -> None:
    """Has the kernel end this process with the one that started it, whatever is running here.

    Elsewhere than on Linux the closed pipe does it, as soon as Python gets to look.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_LINUX_DIES_WITH_PARENT, signal.SIGKILL)
    if hasattr(os, "getppid") and os.name == "posix" and os.getppid() != parent:
        os._exit(0)  # it has ended meanwhile


def _own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """The two pipes, out of the way of what prints or reads; prints go to the log, where there is one."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    with suppress(OSError):  # a host without a console has no log
        os.dup2(2, 1)
    os.close(nothing)
    return incoming, outgoing


def main() -> None:
    """Reads where things are, then works until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the host, which closes the pipe
    incoming, outgoing = _own_pipes()
    size = struct.unpack(">Q", incoming.read(8))[0]
    told = json.loads(incoming.read(size))
    _end_with(told["parent"])
    if hasattr(os, "nice"):
        with suppress(OSError):  # a sandbox may forbid it
            os.nice(_PATIENCE)
    sys.path[:] = told["path"]
    body = struct.pack(">Q", len(_BEGAN)) + _BEGAN
    outgoing.write(struct.pack(">Q", len(body)) + body)
    outgoing.flush()

    from exllama_guard.worker.loop import work

    work(incoming, outgoing, told["tasks"])


if __name__ == "__main__":
    main()
