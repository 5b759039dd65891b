"""The command line: sets up what is missing, then runs the embedded default or another command.

python3 extensions/exllama_guardrails            the chat beside the panel
python3 extensions/exllama_guardrails check ...  one of the commands in exllama_guard/commands
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036 - the one file that an older Python gets to read
    sys.exit("Python {}.{} is too old; 3.10 or newer is needed.".format(*sys.version_info[:2]))

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from exllama_guard.standalone.launch import main  # noqa: E402 - needs the path

if __name__ == "__main__":
    os.environ.setdefault("PYTHONUTF8", "1")
    raise SystemExit(main(HERE, sys.argv[1:]))
