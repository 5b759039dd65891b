"""What the scripts share: arguments, a record that is written after each section, a short table last."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EXTENSION = ROOT / "extensions" / "exllama_guardrails"
for place in (EXTENSION, HERE, ROOT / "tests"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

from exllama_guard.core.measures import NotScored  # noqa: E402 - needs the path

LIBRARIES = (
    "torch", "transformers", "exllamav2", "exllamav3", "flash-attn", "xformers", "triton", "llguidance",
    "sentence-transformers", "numpy",
)  # fmt: skip


def options(purpose: str, extra: Callable[[argparse.ArgumentParser], None] = lambda _: None):
    """Arguments of every script; with --dry-run the libraries are stand-ins (see dry_exllama.py)."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("--models", type=Path, default=Path("gpu-models"), help="folder of prepare_models.py")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu-results")))
    parser.add_argument("--only", default="", help="comma-separated sections to run, such as warmup,lock")
    parser.add_argument("--dry-run", action="store_true", help="stand-ins instead of ExLlama; no GPU needed")
    extra(parser)
    given = parser.parse_args()
    if given.dry_run:
        import dry_exllama

        dry_exllama.install()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return given


def plain(value: object) -> Any:
    """`value` as JSON can hold it; a value that was not measured by its reason."""
    if isinstance(value, NotScored):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in asdict(value)}
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return str(value)


def machine() -> dict[str, Any]:
    """GPUs and versions that a figure depends on."""
    import torch

    cuda = torch.cuda.is_available()
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return {
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "versions": found,
    }


def side_by_side(
    commands: Mapping[str, Sequence[Any]], out: Path, limit_s: float, **environment: str
) -> dict[str, int]:
    """Exit status of each command, all started at once, each with its log in `out`; -9: cut off at the limit."""
    running = {}
    for name, command in commands.items():
        log = (out / f"{name}.log").open("w", encoding="utf-8")
        running[name] = subprocess.Popen(
            [str(part) for part in command],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
    end_s = time.monotonic() + limit_s
    while any(one.poll() is None for one in running.values()):
        if time.monotonic() > end_s:
            for one in running.values():
                one.kill()
        time.sleep(0.2)
    return {name: one.wait() for name, one in running.items()}


class Record:
    """One run. Each section's values are on disk once it is over; its failure does not stop the next."""

    def __init__(self, name: str, given: argparse.Namespace) -> None:
        self.name, self._only = name, {part for part in given.only.split(",") if part}
        self._path = given.out / f"{name}.json"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._rows: list[tuple[str, str]] = []
        self.data: dict[str, Any] = {
            "run": name,
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "dry_run": given.dry_run,
            "machine": machine(),
            "sections": {},
        }

    def run(self, name: str, fill: Callable[[dict[str, Any]], None]) -> bool:
        """Lets `fill` write a section's values; what goes wrong is kept with its traceback. True: it went."""
        if self._only and name.split(":")[0] not in self._only:
            return False
        values: dict[str, Any] = {}
        started_s = time.perf_counter()
        print(f"== {name}", flush=True)
        try:
            fill(values)
        except Exception:  # noqa: BLE001 - the next section must run whatever this one met
            values["failed"] = traceback.format_exc()
            print(values["failed"], flush=True)
            self.row(name, "FAILED: " + values["failed"].strip().splitlines()[-1][:160])
        values["took_s"] = round(time.perf_counter() - started_s, 3)
        self.data["sections"][name] = values
        self.write()
        return "failed" not in values

    def keep(self, name: str, values: dict[str, Any]) -> None:
        """Writes what a section has so far."""
        self.data["sections"][name] = values
        self.write()

    def row(self, name: str, text: str) -> None:
        """One line of the table that `close` prints."""
        self._rows.append((name, text))
        print(f"   {name}: {text}", flush=True)

    def write(self) -> None:
        """Writes what there is so far."""
        self.data["table"] = [list(row) for row in self._rows]
        self._path.write_text(json.dumps(plain(self.data), ensure_ascii=False, indent=1), encoding="utf-8")

    def close(self) -> int:
        """Prints the table; 1 where a section failed."""
        self.write()
        width = max((len(name) for name, _ in self._rows), default=0)
        print(f"\n{self.name} on {', '.join(self.data['machine']['gpus']) or 'no GPU'}")
        for name, text in self._rows:
            print(f"  {name:<{width}}  {text}")
        failed = [name for name, values in self.data["sections"].items() if "failed" in values]
        return 1 if failed else 0
