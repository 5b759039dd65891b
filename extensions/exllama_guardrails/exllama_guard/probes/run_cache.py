"""Finished generations, kept as JSON lines, so that a probe that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from exllama_guard.core.private_file import replacing
from exllama_guard.errors import UserError
from exllama_guard.probes.generation import Generation, Sampling

__all__ = ["MOST_RUNS", "RunCache", "run_key"]

MOST_RUNS = 10_000  # in one file; beyond, the older half is dropped when it is opened


def run_key(writer_id: str, text: str, sampling: Sampling, seed: int) -> str:
    """64 hex digits over all that a generation depends on; a greedy one does not depend on the seed."""
    parts = [writer_id, text, asdict(sampling), None if sampling.deterministic else seed]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class RunCache:
    """Generations by their key, in memory and, where a path is given, in a file that only its owner reads."""

    def __init__(self, path: Path | None = None) -> None:
        """Reads what is there; a line cut by a crash is passed over.

        Raises:
            UserError: The file cannot be read.
        """
        self._path = path
        self._runs: dict[str, Generation] = {}
        if path is not None and path.exists():
            try:
                lines = path.read_bytes().splitlines()
            except OSError as error:
                raise UserError(f"{path} cannot be read ({error.strerror}); name another file.") from error
            if len(lines) > MOST_RUNS:
                lines = lines[-MOST_RUNS // 2 :]
                _replace(path, lines)
            self._runs.update(pair for line in lines if (pair := _read(line)) is not None)

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, key: str) -> Generation | None:
        """The generation of `key`, or None."""
        return self._runs.get(key)

    def add(self, key: str, run: Generation) -> None:
        """Keeps a finished generation; one that was stopped half way is not kept.

        Raises:
            UserError: The file cannot be written.
        """
        if run.stopped:
            return
        self._runs[key] = run
        if self._path is None:
            return
        line = json.dumps({"key": key, **asdict(run)}, ensure_ascii=True) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "r+b") as file:
                end = file.seek(0, os.SEEK_END)
                if end:
                    file.seek(end - 1)
                    line = line if file.read(1) == b"\n" else "\n" + line
                file.write(line.encode())
        except OSError as error:
            raise UserError(
                f"{self._path} cannot be written ({error.strerror}); make room or name another file."
            ) from error


def _replace(path: Path, lines: list[bytes]) -> None:
    """Keeps only `lines`.

    Raises:
        UserError: The file cannot be written.
    """
    try:
        with replacing(path) as file:
            file.write(b"\n".join(lines) + b"\n")
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); make room or name another file."
        ) from error


def _read(line: bytes) -> tuple[str, Generation] | None:
    try:
        data = json.loads(line)
        return str(data["key"]), _written(data)
    except (ValueError, KeyError, TypeError):
        return None


def _written(data: Mapping[str, Any]) -> Generation:
    return Generation(
        str(data["text"]), int(data["tokens"]), float(data["ttft_s"]), float(data["elapsed_s"])
    )  # fmt: skip
