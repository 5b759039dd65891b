"""A comparison as somebody in the host sees it: the models to pick, the exact command, the last report."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from exllama_guard.backends import read_json
from exllama_guard.core.measures import Gate
from exllama_guard.core.turns import Reader
from exllama_guard.errors import UserError
from exllama_guard.probes.doctor.symptoms import Observation, observed
from exllama_guard.probes.modes.opening import choose_mode

__all__ = ["PICKED_PRECISIONS", "Comparison"]

PICKED_PRECISIONS = (
    "float32",
    "bfloat16",
    "float16",
    "int8",
    "int4",
    "llamacpp",
    "llamacpp:q8_0",
    "exllamav2:q8",
    "exllamav2:q6",
    "exllamav2:q4",
    "exllamav3:q8",
    "exllamav3:q4",
)
_GATES = {gate.value: gate for gate in Gate}
_MOST = 200  # models that are offered


@dataclass(frozen=True, slots=True)
class Comparison:
    """`report` is where the command puts its JSON report; None where the host keeps none."""

    report: Path | None = None
    folder: Callable[[], Path | None] = lambda: None  # of the host's models

    def models(self) -> tuple[str, ...]:
        """Paths of the host's model folders and GGUF files, by name; empty where they cannot be read."""
        folder = self.folder()
        try:
            found = sorted(folder.iterdir()) if folder is not None else []
        except OSError:
            return ()
        usable = (one for one in found if one.suffix == ".gguf" or (one / "config.json").is_file())
        return tuple(str(one) for one in usable)[:_MOST]

    def command(self, modes: Sequence[str], gold: str) -> str:
        """A line for a shell that compares `modes` ([LABEL=]PATH[@PRECISION]); nothing is loaded.

        Raises:
            UserError: Fewer than two modes, two of them alike, one that is not there, or no gold set.
        """
        if self.report is None:
            raise UserError("This host keeps no reports; use the command `compare` in a terminal.")
        chosen = [choose_mode(mode) for mode in modes]
        if len(chosen) < 2:
            raise UserError(f"{len(chosen)} modes are picked; a comparison needs at least two.")
        if len({(mode.path, mode.precision) for mode in chosen}) < len(chosen):
            raise UserError("Two modes are the same; pick another model or another precision.")
        if not gold or not Path(gold).expanduser().is_file():
            raise UserError(f"There is no gold set at “{gold}”; name a file of JSON lines.")
        words = ["python3", "extensions/exllama_guardrails", "compare", "--gold", gold]
        for mode in chosen:
            words += ["--mode", f"{mode.label}={mode.path}@{mode.precision}"]
        words += ["--keep", str(self.report.with_suffix(".jsonl")), "--json", str(self.report)]
        return shlex.join([*words, "--html", str(self.report.with_suffix(".html"))])

    def observed(self) -> tuple[Observation, ...]:
        """EX2 and V3 of each mode of the last report, as it tells them."""
        report = read_json(self.report) if self.report is not None else {}
        verdicts = report.get("verdicts")
        when = str(report.get("made_at", ""))[:10]
        found = []
        for line in verdicts if isinstance(verdicts, list) else ():
            label, _, id_ = str(line.get("name", "") if isinstance(line, dict) else "").rpartition(": ")
            gate = _GATES.get(str(line.get("verdict"))) if id_ in ("EX2", "V3") else None
            if gate is not None:
                sentence = f"{label}, compared on {when}: {line.get('sentence', '')}"
                found.append(observed(id_, gate, sentence))
        return tuple(found)

    def last(self, reader: Reader) -> str:
        """The JSON text of the last report, "" without one. It is the host's: a private reader gets none."""
        if self.report is None or reader != Reader():
            return ""
        try:
            return self.report.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
