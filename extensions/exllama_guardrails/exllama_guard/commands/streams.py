"""Where commands read JSON lines from and write them to: a file, or - for the standard streams."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from exllama_guard.errors import UserError

__all__ = ["opened_input", "opened_output", "write_object"]


def opened_input(stack: ExitStack, name: str) -> IO[bytes]:
    """The lines of file `name`, or of standard input.

    Raises:
        UserError: There is no such file.
    """
    if name == "-":
        return sys.stdin.buffer
    path = Path(name)
    if not path.is_file():
        raise UserError(f"there is no file {name}; give a file of JSON lines, or - for standard input")
    return stack.enter_context(path.open("rb"))


def opened_output(stack: ExitStack, name: str, *inputs: str) -> IO[str]:
    """The file `name`, emptied, or standard output.

    Raises:
        UserError: It is one of the inputs, which would be emptied before it is read.
    """
    if name == "-":
        return sys.stdout
    for given in inputs:
        if given != "-" and Path(name).exists() and Path(name).samefile(given):
            raise UserError(f"{name} is the input itself and would be lost; give --output another name")
    return stack.enter_context(Path(name).open("w", encoding="utf-8"))


def write_object(target: IO[str], value: dict[str, Any]) -> None:
    """Writes one line at once; lone surrogates, which UTF-8 lacks, become `?`."""
    target.write(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n")
    target.flush()
