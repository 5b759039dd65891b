"""What models were measured as readers, kept by the hash of their files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from exllama_guard.core.private_file import replacing
from exllama_guard.errors import TraceError
from exllama_guard.second_reader.calibration import Figure, ReaderReport
from exllama_guard.second_reader.joining import Join

__all__ = ["ReaderStore"]

_FORM = 1  # of a kept report; one of another form is measured anew


class ReaderStore:
    """One JSON file; a damaged one counts as empty."""

    def __init__(self, path: Path) -> None:
        """Reads and writes `path`."""
        self._path = path

    def get(self, model_hash: str) -> ReaderReport | None:
        """The last report of the model with this hash, or None."""
        kept = self._all().get(model_hash)
        if not isinstance(kept, dict) or kept.get("form") != _FORM:
            return None
        try:
            return _report(kept)
        except (KeyError, TypeError):
            return None

    def add(self, report: ReaderReport) -> None:
        """Keeps the report in the place of an earlier one.

        Raises:
            TraceError: It cannot be written.
        """
        kept = {**self._all(), report.model_hash: {"form": _FORM, **asdict(report)}}
        try:
            with replacing(self._path) as file:
                file.write(json.dumps(kept, indent=1).encode())
        except OSError as error:
            raise TraceError(
                f"What this model reads cannot be kept in {self._path} ({error.strerror}); "
                "free some room there."
            ) from error

    def _all(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}


def _report(kept: dict[str, Any]) -> ReaderReport:
    values = {name: value for name, value in kept.items() if name != "form"}
    for name in ("support", "judge", "contrast", "joined"):
        values[name] = None if values[name] is None else Figure(**values[name])
    join = values["join"]
    values["join"] = Join(tuple(join["weights"]), join["bias"], join["accept"], join["reject"])
    return ReaderReport(**values)
