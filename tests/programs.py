"""Programs of the suite that run in a Python of their own and print what they saw as one line of JSON."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def end(process: subprocess.Popen[Any], limit_s: float = 60) -> None:
    """Ends a program that a test started and closes its pipes, however long it takes on a busy machine."""
    process.terminate()
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was not yet sent has nobody to read it
                pipe.close()


def printed_by(program: Path, *arguments: object, python: str = sys.executable, limit_s: float = 1200) -> Any:
    """The value in the last line that `program` prints; the test fails with its errors where it fails."""
    done = subprocess.run(
        [python, str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])
