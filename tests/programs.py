"""Programs of the suite that run in a Python of their own and print what they saw as one line of JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def printed_by(program: Path, *arguments: object, python: str = sys.executable, limit_s: float = 300) -> Any:
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
