"""`python3 tests [pytest's arguments]`: makes the environment where it is missing, then runs the suite.

The environment holds the versions of the hash-locked list where one fits this machine. `python3 tests
--newest` takes the newest that the ranges allow instead, in an environment of its own: what breaks there
will break in a WebUI's environment soon. Without arguments the whole suite runs on several processors,
each file's tests on one of them; with arguments they alone decide.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036 - the one file that an older Python gets to read
    sys.exit("Python {}.{} is too old; 3.10 or newer is needed.".format(*sys.version_info[:2]))

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "extensions" / "exllama_guardrails"))

from exllama_guard.errors import UserError  # noqa: E402 - needs the path
from exllama_guard.standalone.environment import Environment  # noqa: E402 - needs the path

MOST_PROCESSES = 4  # each loads the models that its tests ask for
IN_A_PAGE = "tests/e2e"  # a page, its model and its browser want the processors for themselves


def runs() -> list[list[str]]:
    """pytest's arguments for the whole suite: all but the pages at once, then these, one after the other.

    A file's tests share what they start, so they stay on one processor.
    """
    processes = str(min(MOST_PROCESSES, os.cpu_count() or 1))
    return [["-n", processes, "--dist", "loadfile", f"--ignore={IN_A_PAGE}"], [IN_A_PAGE]]


def main() -> int:
    """Exit status of pytest (of a run that failed), or 2 when the environment cannot be made."""
    newest = "--newest" in sys.argv[1:]
    arguments = [argument for argument in sys.argv[1:] if argument != "--newest"]
    try:
        python = Environment(TOP, newest=newest).prepare(tests=True)
    except UserError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    environment = {**os.environ, "PYTHONUTF8": "1"}
    status = 0
    for chosen in [arguments] if arguments else runs():
        command = [str(python), "-m", "pytest", *chosen]
        status = subprocess.run(command, cwd=TOP, env=environment, check=False).returncode or status
    return status


if __name__ == "__main__":
    raise SystemExit(main())
