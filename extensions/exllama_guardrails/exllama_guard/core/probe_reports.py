"""Reports made from measured values: of a λ probe, a comparison, a gold set, a replay, a checkup, a chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from exllama_guard.core.checkup import Checkup, steps_of
from exllama_guard.core.comparison import (
    ModeRun,
    ModeVerdict,
    accuracy_of,
    compare_modes,
    convergent_share,
    json_rate,
    observe_modes,
)
from exllama_guard.core.equivalence import FLAT, Interval
from exllama_guard.core.logit_drift import LogitDrift
from exllama_guard.core.records import Gate, NotScored, TurnReport
from exllama_guard.core.repetition import repetition_of
from exllama_guard.core.replay import Replay
from exllama_guard.core.report import Chart, ChartLine, ChartRange, Line, Report, Table, shown
from exllama_guard.core.resonance import Trend, answer_side, resonance_trend, rolling_mean
from exllama_guard.core.stability import LambdaReport
from exllama_guard.core.verification import ItemResult, overall

__all__ = [
    "chat_report",
    "checkup_report",
    "compare_report",
    "lambda_report",
    "replay_report",
    "verify_report",
]

Environment = Mapping[str, str]


def _now() -> str:
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
        made_at=_now(),
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
        tuple(
            line for v, run in zip(verdicts, modes, strict=True) for line in _mode_lines(v, run, reference)
        ),
        (_modes(reference, modes, verdicts), _items(runs), *_grids(runs)),
        (band,) if ranges else (),
        tuple(environment.items()),
        tuple(left_out),
        _now(),
    )


def _mode_lines(verdict: ModeVerdict, run: ModeRun, reference: ModeRun) -> list[Line]:
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
        "right answers", "JSON valid", "λ convergent", "time a token",
    )  # fmt: skip
    first = (
        reference.label, _bits(reference), "reference", "–", "–", "–", "–", _kl(reference.floor), "–",
        shown(accuracy_of(reference), ".0%"), shown(json_rate(reference), ".0%"),
        shown(convergent_share(reference), ".0%"), "1.00",
    )  # fmt: skip
    rows = [first]
    for run, v in zip(modes, verdicts, strict=True):
        rows.append(
            (
                run.label, _bits(run), v.resonance.outcome.value, _interval(v.drift.interval), _kl(run.drift),
                _part(run.drift, "delta_nll", "+.4f"), _part(run.drift, "top1", ".1%"),
                _kl(run.floor), shown(v.flip_rate, ".0%"), shown(v.accuracy, ".0%"),
                shown(v.json_rate, ".0%"),
                shown(v.convergent, ".0%"), shown(v.speed, ".2f"),
            )
        )  # fmt: skip
    return Table("Modes", columns, tuple(rows), "Time a token is against the reference: below 1 is faster.")


def _bits(run: ModeRun) -> str:
    return "–" if run.bits is None else f"{run.bits:g} ({run.kind})"


def _kl(value: LogitDrift | NotScored) -> str:
    return shown(value) if isinstance(value, NotScored) else f"{value.kl:.4f}"


def _part(value: LogitDrift | NotScored, name: str, form: str) -> str:
    return shown(value) if isinstance(value, NotScored) else shown(getattr(value, name), form)


def _interval(value: Interval | NotScored) -> str:
    if isinstance(value, NotScored):
        return shown(value)
    return f"{value.mean:+.3f} ({value.low:+.3f} to {value.high:+.3f})"


def _items(runs: Sequence[ModeRun]) -> Table:
    rows = [
        (run.label, item.item_id, shown(item.distance), _yes(item.right), _yes(item.flipped), item.answer)
        for run in runs
        for item in run.items
    ]
    return Table("Answers", ("mode", "question", "ΔS", "right", "flipped", "answer"), tuple(rows))


def _yes(value: bool | None) -> str:
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


# --- gold set, replay, checkup, chat --------------------------------------------------------------------


def verify_report(
    results: Sequence[ItemResult], problems: Sequence[str], environment: Environment, *, planned: int
) -> Report:
    """The report of a gold set."""
    passed = sum(result.gate is Gate.PASS for result in results)
    rows = [
        (r.id, r.gate.value, form.form, shown(form.distance), shown(form.coverage), form.answer or "–")
        for r in results
        for form in r.forms
    ]
    left_out = [(result.id, result.reason) for result in results if result.gate is Gate.NOT_MEASURED]
    left_out += [("a line of the gold set", problem) for problem in problems]
    if len(results) < planned:
        left_out.append((f"{planned - len(results)} items", "stopped by the user"))
    total = Line(
        "gold set", overall(results), f"{passed} of {planned} items pass ΔS and coverage in every form."
    )
    return Report(
        "Verification of a gold set",
        "Each question in three forms: ΔS(question, snippet) and coverage of the anchor in every one "
        "of them.",
        (total, *(Line(result.id, result.gate, result.reason) for result in results)),
        (Table("Forms", ("item", "item's verdict", "form", "ΔS", "coverage", "answer"), tuple(rows)),),
        environment=tuple(environment.items()),
        not_measured=tuple(left_out),
        made_at=_now(),
    )


def replay_report(
    replays: Sequence[Replay],
    environment: Environment,
    agreement: Mapping[str, LambdaReport] | None = None,
    *,
    stopped: bool = False,
) -> Report:
    """The report of recordings beside a baseline; `agreement` is λ by recording."""
    lines = [
        Line(f"{replay.label}: {one.symptom.id} {one.symptom.title}", one.verdict, one.evidence)
        for replay in replays
        for one in replay.observations
    ]
    lines += [lambda_line(f"λ with {name}", report) for name, report in (agreement or {}).items()]
    rows = [
        (
            replay.label, turn.question, _yes(turn.prompt_changed), _yes(turn.snippets_changed),
            f"{', '.join(sorted(turn.cited_before)) or '–'} → {', '.join(sorted(turn.cited_after)) or '–'}",
            shown(turn.distance_change, "+.2f"), f"{turn.verdict_before.value} → {turn.verdict_after.value}",
        )
        for replay in replays
        for turn in replay.turns
    ]  # fmt: skip
    left_out = [
        (replay.label, f"{replay.only_before} questions only in the baseline, {replay.only_after} only here")
        for replay in replays
        if replay.only_before or replay.only_after
    ]
    left_out += [("the rest of the questions", "stopped by the user")] if stopped else []
    left_out += [] if agreement else [("λ with each extension", "not asked for")]
    left_out += [(f"{r.label}: ΔS drift", shown(r.drift)) for r in replays if isinstance(r.drift, NotScored)]
    columns = ("recording", "question", "prompt changed", "snippets changed", "cites", "ΔS", "verdict")
    return Report(
        "Replay",
        "The same questions recorded with other extensions: what changed?",
        tuple(lines),
        (Table("Questions", columns, tuple(rows)),),
        environment=tuple(environment.items()),
        not_measured=tuple(left_out),
        made_at=_now(),
    )


def checkup_report(checkup: Checkup, environment: Environment) -> Report:
    """The report of a doctor's findings."""
    seen = (*checkup.found, *checkup.clean)
    lines = tuple(
        Line(
            f"{one.symptom.id} {one.symptom.title}",
            one.verdict,
            one.evidence,
            one.pages[0].url if one.pages else "",
        )
        for one in seen
    )
    first = f"Repair first: {checkup.found[0].symptom.title}." if checkup.found else "Nothing was found."
    rows = tuple((one.symptom.id, one.symptom.rule) for one in seen)
    return Report(
        "Checkup",
        first,
        lines,
        (Table("Rules", ("id", "rule"), rows),),
        environment=tuple(environment.items()),
        not_measured=tuple((one.symptom.id, one.evidence) for one in checkup.not_measured),
        made_at=_now(),
    )


def chat_report(turns: Sequence[TurnReport], environment: Environment, window: int = 5) -> Report:
    """The report of recorded turns, oldest first: ΔS by turn, rolling E_resonance with its slope, λ steps."""
    distances = [answer_side(turn) for turn in turns]
    rolling = rolling_mean(distances, window)
    trend = resonance_trend(distances, window)
    steps = steps_of(turns, window)
    gates = [turn.verdict.gate for turn in turns]
    worst = next((g for g in (Gate.FAIL, Gate.REVIEW, Gate.PASS) if g in gates), Gate.NOT_MEASURED)
    counted = ", ".join(f"{gates.count(gate)} {gate.value}" for gate in Gate if gate in gates)
    lines = [Line("turns", worst, f"{len(turns)} turns: {counted or 'none'}.")]
    if isinstance(trend, Trend):
        lines.append(Line("E_resonance", trend.gate, trend.sentence()))
    rows = tuple(
        (
            str(number), turn.request.question, turn.verdict.gate.value, shown(turn.distances.gated),
            shown(distances[number - 1]), shown(rolling[number - 1]), step.value if step else "–",
            _loops(turn.answer),
        )
        for number, (turn, step) in enumerate(zip(turns, steps, strict=True), start=1)
    )  # fmt: skip
    columns = (
        "turn",
        "question",
        "verdict",
        "ΔS question–snippet",
        "ΔS answer side",
        "E_resonance",
        "λ step",
        "repeats",
    )
    chart = Chart(
        "ΔS and E_resonance by turn",
        "ΔS",
        (
            ChartLine("ΔS question–snippet", tuple(_or_none(turn.distances.gated) for turn in turns)),
            ChartLine("E_resonance", tuple(_or_none(value) for value in rolling)),
        ),
        limits=((0.45, "pass up to"), (0.60, "fail from")),
    )
    note = "Repeats: how often one phrase of 4 words stands within 64 words; from 3 it is a loop."
    left_out = (("slope of E_resonance", shown(trend)),) if isinstance(trend, NotScored) else ()
    return Report(
        "Recorded turns",
        f"{len(turns)} turns, oldest first.",
        tuple(lines),
        (Table("Turns", columns, rows, note),),
        (chart,),
        tuple(environment.items()),
        left_out,
        _now(),
    )


def _loops(answer: str) -> str:
    found = repetition_of(answer)
    return "–" if isinstance(found, NotScored) else str(found.loop_count)


def _or_none(value: float | NotScored) -> float | None:
    return None if isinstance(value, NotScored) else value
