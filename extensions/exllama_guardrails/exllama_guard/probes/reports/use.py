"""Reports made from measured values: of a gold set, a replay, a checkup, a chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exllama_guard.core.measures import Gate, NotScored
from exllama_guard.core.turns import TurnReport
from exllama_guard.probes.doctor.checkup import Checkup, steps_of
from exllama_guard.probes.measures.limits import RetrievalLimits
from exllama_guard.probes.measures.repetition import repetition_of
from exllama_guard.probes.measures.replay import Replay
from exllama_guard.probes.measures.resonance import Trend, answer_side, resonance_trend, rolling_mean
from exllama_guard.probes.measures.stability import LambdaReport
from exllama_guard.probes.measures.verification import ItemResult, overall
from exllama_guard.probes.reports.probe import Environment, lambda_line, made_now, yes_or_no
from exllama_guard.report import Chart, ChartLine, Line, Report, Table, shown

__all__ = ["chat_report", "checkup_report", "replay_report", "verify_report"]


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
        made_at=made_now(),
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
            replay.label, turn.question, yes_or_no(turn.prompt_changed), yes_or_no(turn.snippets_changed),
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
        made_at=made_now(),
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
        made_at=made_now(),
    )


def chat_report(
    turns: Sequence[TurnReport],
    environment: Environment,
    window: int = 5,
    limits: RetrievalLimits = RetrievalLimits(),  # noqa: B008 - a frozen value
) -> Report:
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
        limits=((limits.distance_pass, "pass up to"), (limits.distance_fail, "fail from")),
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
        made_now(),
    )


def _loops(answer: str) -> str:
    found = repetition_of(answer)
    return "–" if isinstance(found, NotScored) else str(found.loop_count)


def _or_none(value: float | NotScored) -> float | None:
    return None if isinstance(value, NotScored) else value
