"""A report of runs that were recorded on another machine (docs/gpu/*.json): read from their figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from exllama_guard.core.measures import Gate, Measure, NotScored, Reason
from exllama_guard.probes.measures.comparison import ItemRun, ModeRun, accuracy_of, compare_modes, json_rate
from exllama_guard.probes.measures.logit_drift import LogitDrift
from exllama_guard.probes.reports.probe import bits_shown, drift_shown, kl_shown, mode_lines, ms_shown
from exllama_guard.report import Line, Report, Table, shown

__all__ = ["is_recording", "recorded_report"]

_NOT_TIMED = NotScored(Reason.NOT_ENOUGH_DATA, "see the note")
_GATES = {gate.value: gate for gate in Gate}
_COLUMNS = (
    "mode",
    "bits",
    "E_resonance",
    "ΔS drift",
    "KL",
    "floor KL",
    "right answers",
    "JSON valid",
    "λ →",
    "ms a token",
)


def is_recording(data: Mapping[str, Any]) -> bool:
    """Whether this is what a script of tests/gpu wrote."""
    return isinstance(data.get("run"), str) and isinstance(data.get("machine"), dict)


def recorded_report(recordings: Mapping[str, Mapping[str, Any]]) -> Report:
    """One report of all recordings, by file name; verdicts of modes are made anew from their items."""
    lines: list[Line] = []
    tables: list[Table] = []
    environment: list[tuple[str, str]] = []
    for name, data in recordings.items():
        environment.append((name, _machine(data)))
        runs = [_mode(mode) for mode in _dicts(data.get("modes"))]
        if len(runs) > 1:
            lines += _lines(name, runs)
            tables.append(_modes(name, data, runs))
        lines += [
            Line(f"{name}: {what}", gate, sentence)
            for what, gate, sentence in _sentence(data.get("sections"))
        ]
        rows = tuple((str(row[0]), str(row[1])) for row in data.get("table") or () if len(row) == 2)
        if rows:
            title = f"{name}: as its script told it"
            tables.append(Table(title, ("what", "measured"), rows, str(data.get("note") or "")))
    return Report(
        "Runs recorded on GPUs",
        f"{len(recordings)} recordings; every figure is read from its file.",
        tuple(lines),
        tuple(tables),
        (),
        tuple(environment),
        made_at=max((str(data.get("at", "")) for data in recordings.values()), default=""),
    )


def _machine(data: Mapping[str, Any]) -> str:
    machine = data["machine"]
    versions = machine.get("versions") or {}
    libraries = [
        f"{n} {versions[n]}" for n in ("torch", "exllamav2", "exllamav3", "transformers") if n in versions
    ]
    gpus = ", ".join(map(str, machine.get("gpus") or ())) or "no GPU"
    dry = ", a dry run" if data.get("dry_run") else ""
    return f"{data.get('at', '')}{dry}: {gpus}, CUDA {machine.get('cuda', '–')}, {', '.join(libraries)}"


def _dicts(values: object) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _sentence(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Gate, str]]:
    """Every [verdict, sentence] in a recording, with where it stands."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _sentence(part, (*path, str(name)))
    elif isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in _GATES:
        yield ", ".join(path), _GATES[value[0]], str(value[1])


# --- modes ----------------------------------------------------------------------------------------------


def _mode(data: Mapping[str, Any]) -> ModeRun:
    valid = data.get("json_valid")
    return ModeRun(
        label=str(data["label"]),
        kind=str(data.get("kind", "weights")),
        bits=data.get("bits"),
        items=tuple(_item(item) for item in _dicts(data.get("items"))),
        drift=_drift(data.get("drift")),
        floor=_drift(data.get("floor")),
        json_valid=(valid[0], valid[1]) if isinstance(valid, list) else NotScored(Reason.NOT_ENOUGH_DATA),
        token_s=tuple(map(float, data["token_s"])) if isinstance(data.get("token_s"), list) else _NOT_TIMED,
        problem=str(data.get("problem") or ""),
    )


def _item(data: Mapping[str, Any]) -> ItemRun:
    distance = data.get("distance")
    return ItemRun(
        str(data["item_id"]),
        str(data["answer"]),
        float(distance) if isinstance(distance, (int, float)) else NotScored(Reason.FAILED, str(distance)),
        float(data["elapsed_s"]),
        int(data["tokens"]),
        data.get("right"),
        data.get("flipped"),
    )


def _drift(data: object) -> LogitDrift | NotScored:
    return LogitDrift(**data) if isinstance(data, dict) else NotScored(Reason.NOT_SUPPORTED, str(data or ""))


def _lines(name: str, runs: Sequence[ModeRun]) -> list[Line]:
    reference, modes = runs[0], runs[1:]
    made = zip(compare_modes(reference, modes), modes, strict=True)
    lines = [line for verdict, run in made for line in mode_lines(verdict, run, reference)]
    return [Line(f"{name}: {line.name}", line.gate, line.sentence, line.url) for line in lines]


def _modes(name: str, data: Mapping[str, Any], runs: Sequence[ModeRun]) -> Table:
    reference, modes = runs[0], runs[1:]
    agreed = [_convergent(mode.get("lambda")) for mode in _dicts(data["modes"])]
    rows = [(reference.label, bits_shown(reference), "reference", "–", "–", *_own(reference, agreed[0]))]
    for run, verdict, share in zip(modes, compare_modes(reference, modes), agreed[1:], strict=True):
        flat = verdict.resonance.outcome.value
        drift = drift_shown(verdict.drift.interval)
        rows.append((run.label, bits_shown(run), flat, drift, kl_shown(run.drift), *_own(run, share)))
    return Table(name, _COLUMNS, tuple(rows), str(data.get("note") or ""))


def _own(run: ModeRun, agreed: Measure) -> tuple[str, str, str, str, str]:
    right, valid = shown(accuracy_of(run), ".0%"), shown(json_rate(run), ".0%")
    return kl_shown(run.floor), right, valid, shown(agreed, ".0%"), ms_shown(run.token_s)


def _convergent(states: object) -> Measure:
    """Share of the recorded λ states that converge."""
    if not isinstance(states, dict) or not states:
        return NotScored(Reason.NOT_ENOUGH_DATA, "λ was not probed")
    return [str(state) for state in states.values()].count("→") / len(states)
