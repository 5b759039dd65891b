"""Reports made from measured values: of a λ probe, and of a comparison of modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from statistics import median

from exllama_guard.core.measures import Gate, NotScored
from exllama_guard.probes.measures.comparison import (
    ModeRun,
    ModeVerdict,
    accuracy_of,
    compare_modes,
    convergent_share,
    json_rate,
    observe_modes,
)
from exllama_guard.probes.measures.equivalence import FLAT, Interval
from exllama_guard.probes.measures.logit_drift import LogitDrift
from exllama_guard.probes.measures.stability import LambdaReport
from exllama_guard.report import Chart, ChartRange, Line, Report, Table, shown

__all__ = [
    "Environment",
    "bits_shown",
    "compare_report",
    "drift_shown",
    "kl_shown",
    "lambda_line",
    "lambda_report",
    "made_now",
    "mode_lines",
    "yes_or_no",
]

Environment = Mapping[str, str]


def made_now() -> str:
    """When a report is made, ISO 8601 in UTC."""
    return datetime.now(tz=timezone.utc).isoformat(timespec="seconds")


def lambda_line(name: str, report: LambdaReport) -> Line:
    """λ as a verdict line."""
    state = report.verdict.value if not isinstance(report.verdict, NotScored) else "no verdict"
    rule = "strict" if report.strict else "80 %"
    numbers = (
        f"n = {report.n}, Wilson 95 % lower bound {shown(report.low)}, semantic entropy "
        f"{shown(report.entropy)}, "
        f"citation IoU {shown(report.iou)}, rule {rule}."
    )
    return Line(name, report.gate, f"λ {state}. {' '.join(report.reasons)} {numbers}")


def lambda_table(report: LambdaReport, forms: Sequence[str]) -> Table:
    """The grid of answers with their clusters and states."""
    rows = [
        (
            forms[run.form] if run.form < len(forms) else str(run.form + 1),
            str(run.seed),
            run.state.value if run.state else "",
            "–" if run.cluster is None else chr(ord("A") + run.cluster % 26),
            ", ".join(sorted(run.cited)) or "–",
            run.text or "(nothing)",
        )
        for run in report.runs
    ]
    return Table("Answers", ("form", "seed", "state", "cluster", "cites", "answer"), tuple(rows))


def lambda_report(
    report: LambdaReport, forms: Sequence[str], environment: Environment, *, stopped: bool = False
) -> Report:
    """The report of one probe."""
    left_out = [("the rest of the grid", "stopped by the user")] if stopped else []
    if report.seeds_degenerate:
        left_out.append(("agreement over seeds", "sampler is deterministic"))
    return Report(
        "λ probe",
        "The same question in several forms and with several seeds: do the answers agree?",
        (lambda_line("λ", report),),
        (lambda_table(report, forms),),
        environment=tuple(environment.items()),
        not_measured=tuple(left_out),
        made_at=made_now(),
    )


# --- comparison -----------------------------------------------------------------------------------------


def compare_report(runs: Sequence[ModeRun], environment: Environment, *, stopped: bool = False) -> Report:
    """The report of a comparison; the first run is the reference."""
    reference, modes = runs[0], runs[1:]
    verdicts = compare_modes(reference, modes)
    left_out = [(run.label, run.problem) for run in runs if run.problem]
    left_out += [("the rest of the items", "stopped by the user")] if stopped else []
    left_out += [
        (f"flatness of {v.label}", v.resonance.sentence)
        for v in verdicts
        if v.gate is Gate.NOT_MEASURED and not any(v.label == run.label and run.problem for run in modes)
    ]
    left_out += [] if any(run.probes for run in runs) else [("λ by mode", "not asked for (--probe-items)")]
    left_out += [(f"speed of {v.label}", shown(v.speed)) for v in verdicts if isinstance(v.speed, NotScored)]
    left_out += [] if any(r.kind == "kv_cache" for r in runs) else [("KV cache types", "no mode names one")]
    ranges = tuple(
        ChartRange(v.label, v.resonance.interval.low, v.resonance.interval.mean, v.resonance.interval.high)
        for v in verdicts
        if isinstance(v.resonance.interval, Interval)
    )
    band = Chart(
        "Paired difference of answer-side ΔS (90 % interval)", "ΔS", ranges=ranges, band=(-FLAT, FLAT)
    )
    return Report(
        "Comparison of modes",
        f"Reference: {reference.label}. Every other mode answered the same {len(reference.items)} questions.",
        tuple(line for v, run in zip(verdicts, modes, strict=True) for line in mode_lines(v, run, reference)),
        (_modes(reference, modes, verdicts), _items(runs), *_grids(runs)),
        (band,) if ranges else (),
        tuple(environment.items()),
        tuple(left_out),
        made_now(),
    )


def mode_lines(verdict: ModeVerdict, run: ModeRun, reference: ModeRun) -> list[Line]:
    """A line each for flatness, drift, forced text, symptoms; one line for a mode that could not be run."""
    if run.problem:
        return [Line(run.label, Gate.NOT_MEASURED, run.problem)]
    lines = [
        Line(f"{run.label}: E_resonance", verdict.resonance.gate, verdict.resonance.sentence),
        Line(f"{run.label}: drift", verdict.drift.gate, verdict.drift.sentence),
    ]
    if not isinstance(verdict.logits, NotScored):
        lines.append(Line(f"{run.label}: forced text", verdict.logits.worst, verdict.logits.sentence))
    lines += [
        Line(
            f"{run.label}: {one.symptom.id}", one.verdict, one.evidence, one.pages[0].url if one.pages else ""
        )
        for one in observe_modes(reference, run)
        if one.verdict is not Gate.NOT_MEASURED
    ]
    return lines


def _modes(reference: ModeRun, modes: Sequence[ModeRun], verdicts: Sequence[ModeVerdict]) -> Table:
    columns = (
        "mode", "bits", "E_resonance", "drift", "KL", "ΔNLL", "same top token", "floor KL", "answers flipped",
        "right answers", "JSON valid", "λ convergent", "ms a token", "against the reference",
    )  # fmt: skip
    first = (
        reference.label, bits_shown(reference), "reference", "–", "–", "–", "–",
        kl_shown(reference.floor), "–",
        shown(accuracy_of(reference), ".0%"), shown(json_rate(reference), ".0%"),
        shown(convergent_share(reference), ".0%"), ms_shown(reference.token_s), "1.00",
    )  # fmt: skip
    rows = [first]
    for run, v in zip(modes, verdicts, strict=True):
        rows.append(
            (
                run.label, bits_shown(run), v.resonance.outcome.value,
                drift_shown(v.drift.interval), kl_shown(run.drift),
                _part(run.drift, "delta_nll", "+.4f"), _part(run.drift, "top1", ".1%"),
                kl_shown(run.floor), shown(v.flip_rate, ".0%"), shown(v.accuracy, ".0%"),
                shown(v.json_rate, ".0%"),
                shown(v.convergent, ".0%"), ms_shown(run.token_s), shown(v.speed, ".2f"),
            )
        )  # fmt: skip
    notes = dict.fromkeys(run.speed_note for run in modes if run.speed_note)
    return Table("Modes", columns, tuple(rows), " ".join((_TIMING, *map(_sentence, notes))))


_TIMING = (
    "A token's time is the median (and spread) of 5 runs of 12 tokens, each mode alone in turn; against the "
    "reference, below 1 is faster."
)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def ms_shown(token_s: tuple[float, ...] | NotScored) -> str:
    if isinstance(token_s, NotScored):
        return shown(token_s)
    low, middle, high = (1e3 * value for value in (min(token_s), median(token_s), max(token_s)))
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def bits_shown(run: ModeRun) -> str:
    """Bits and kind, or a dash."""
    return "–" if run.bits is None else f"{run.bits:g} ({run.kind})"


def kl_shown(value: LogitDrift | NotScored) -> str:
    """Mean KL in nats."""
    return shown(value) if isinstance(value, NotScored) else f"{value.kl:.4f}"


def _part(value: LogitDrift | NotScored, name: str, form: str) -> str:
    return shown(value) if isinstance(value, NotScored) else shown(getattr(value, name), form)


def drift_shown(value: Interval | NotScored) -> str:
    """A mean with its interval."""
    if isinstance(value, NotScored):
        return shown(value)
    return f"{value.mean:+.3f} ({value.low:+.3f} to {value.high:+.3f})"


def _items(runs: Sequence[ModeRun]) -> Table:
    rows = [
        (
            run.label,
            item.item_id,
            shown(item.distance),
            yes_or_no(item.right),
            yes_or_no(item.flipped),
            item.answer,
        )
        for run in runs
        for item in run.items
    ]
    return Table("Answers", ("mode", "question", "ΔS", "right", "flipped", "answer"), tuple(rows))


def yes_or_no(value: bool | None) -> str:
    """`yes`, `no`, or a dash where it is not known."""
    return "–" if value is None else "yes" if value else "no"


def _grids(runs: Sequence[ModeRun]) -> list[Table]:
    rows = [
        (run.label, item_id, *_lambda_cells(report)) for run in runs for item_id, report in run.probes.items()
    ]
    columns = ("mode", "question", "λ", "→ of n", "Wilson bound", "entropy", "citation IoU")
    return [Table("λ by mode", columns, tuple(rows))] if rows else []


def _lambda_cells(report: LambdaReport) -> tuple[str, ...]:
    verdict = shown(report.verdict) if isinstance(report.verdict, NotScored) else report.verdict.value
    counts = f"{report.convergent} of {report.n}"
    return verdict, counts, shown(report.low), shown(report.entropy), shown(report.iou)
