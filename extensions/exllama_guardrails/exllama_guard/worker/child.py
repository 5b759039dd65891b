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

_LINUX_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
_PATIENCE = 10  # steps of niceness: the model goes first


def _end_with(parent: int) -> None:
    """Has the kernel end this process with the one that started it, whatever is running here.

    Elsewhere than on Linux the closed pipe does it, as soon as Python gets to look.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_LINUX_DIES_WITH_PARENT, signal.SIGKILL)
    if hasattr(os, "getppid") and os.name == "posix" and os.getppid() != parent:
        os._exit(0)  # it has ended meanwhile


def main() -> None:
    """Reads where things are, then works until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the host, which closes the pipe
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # what a library prints belongs into the log
    os.close(nothing)
    size = struct.unpack(">Q", incoming.read(8))[0]
    told = json.loads(incoming.read(size))
    _end_with(told["parent"])
    if hasattr(os, "nice"):
        os.nice(_PATIENCE)
    sys.path[:] = told["path"]

    from exllama_guard.worker.loop import work

    work(incoming, outgoing, told["tasks"])


if __name__ == "__main__":
    main()
