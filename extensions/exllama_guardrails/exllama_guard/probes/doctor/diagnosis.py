"""The diagnostic prompt: what was measured of a turn, written out, with two questions for the model.

A language model cannot compute ΔS or λ, so every number is measured before and written in; the model is
asked for the explanation and the next step only, and nothing that it says of a number enters a trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from exllama_guard.core.measures import Gate, Measure, NotScored
from exllama_guard.core.turns import ModelInfo, TurnReport
from exllama_guard.errors import UserError
from exllama_guard.lifecycle import DriftReport
from exllama_guard.probes.doctor.fix_pages import FixPage
from exllama_guard.probes.doctor.symptoms import CATALOGUE, Observation, Symptom, fired
from exllama_guard.probes.measures.limits import RetrievalLimits
from exllama_guard.probes.measures.resonance import answer_side
from exllama_guard.probes.measures.stability import LambdaReport

__all__ = ["Diagnosis", "Findings", "ModeSummary", "ReadMode", "diagnosis_of", "modes_of_report"]


class ModeSummary(Protocol):
    """What the prompt tells of a mode: of a comparison's own verdict, or as read from its report."""

    @property
    def label(self) -> str:
        """Its name."""
        ...

    @property
    def gate(self) -> Gate:
        """Its verdict against the reference."""
        ...

    @property
    def reasons(self) -> tuple[str, ...]:
        """Plain sentences with the numbers."""
        ...


@dataclass(frozen=True, slots=True)
class ReadMode:
    """A mode as the JSON report of `compare` tells of it."""

    label: str
    gate: Gate
    reasons: tuple[str, ...]


def modes_of_report(data: Mapping[str, Any]) -> tuple[ReadMode, ...]:
    """The modes of a comparison's JSON report, each with the worst of its verdicts.

    Raises:
        UserError: It is no such report.
    """
    found: dict[str, list[tuple[Gate, str]]] = {}
    try:
        if data["title"] != "Comparison of modes":
            raise KeyError("title")
        for line in data["verdicts"]:
            label, _, what = str(line["name"]).rpartition(": ")
            sentence = f"{what}: {line['sentence']}" if label else str(line["sentence"])
            found.setdefault(label or what, []).append((Gate(line["verdict"]), sentence))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError("This is no report of `compare`; make one with compare --json FILE.") from error
    worst = (Gate.FAIL, Gate.NOT_MEASURED, Gate.REVIEW, Gate.PASS)
    return tuple(
        ReadMode(
            label, min((gate for gate, _ in lines), key=worst.index), tuple(sentence for _, sentence in lines)
        )
        for label, lines in found.items()
    )


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was measured; None: nobody measured it yet."""

    turn: TurnReport
    extensions: tuple[str, ...] | None = None
    lambda_report: LambdaReport | None = None
    modes: Sequence[ModeSummary] | None = None
    drift: DriftReport | None = None
    observations: tuple[Observation, ...] = ()
    distance_fail: float = RetrievalLimits().distance_fail  # from which a fix page is named


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The prompt, the page that it names, and what could still be measured, each with how."""

    prompt: str
    page: FixPage | None
    offers: tuple[str, ...]
    page_for: str = ""  # the symptom whose page it is


def diagnosis_of(found: Findings) -> Diagnosis:
    """The prompt for a finished turn, filled from measurements only."""
    first = _first(found)
    sections = [
        _setting(found.turn.request.model, found.extensions),
        _quoted("Question", found.turn.request.question),
        _distances(found),
        _support(found.turn),
        _agreement(found.lambda_report),
        _quantisation(found.modes),
        _cache(found.drift),
        _seen(found.observations),
        _named(first, found),
        _ASK,
    ]
    prompt = "\n\n".join([_OPENING, *sections])
    if first is None:
        return Diagnosis(prompt, None, _offers(found))
    return Diagnosis(prompt, first.pages[0], _offers(found), _called(first))


_OPENING = (
    "You help to find out why a local model answered as it did. All numbers below were measured by a "
    "program; "
    "do not compute, correct or invent any. ΔS is the cosine distance of two sentence embeddings: 0 "
    "is the same "
    "meaning, 1 is unrelated. λ says whether repeated answers agree."
)
_ASK = (
    "Now answer in at most eight sentences: (1) Which one of these measurements explains the answer "
    "best, and "
    "how? (2) What is the smallest next step to try, and which of the numbers should change when it works?"
)


def _number(value: Measure) -> str:
    """Four decimals of the very value that is in the trace, or why there is none."""
    if isinstance(value, NotScored):
        return f"not measured ({value.reason.value}{': ' + value.detail if value.detail else ''})"
    return f"{value:.4f}"


def _setting(model: ModelInfo | None, extensions: tuple[str, ...] | None) -> str:
    if model is None:
        lines = ["Model: not known"]
    else:
        lines = [
            f"Model: {model.name}, loader {model.loader}",
            f"Quantisation: {model.quantisation or 'not told by the loader'}; "
            f"cache {model.cache_type or 'not told'}; context {model.context_tokens or 'not told'} tokens",
            f"Devices and split: {_devices(model)}",
        ]
    known = "not told" if extensions is None else ", ".join(extensions) or "none besides the guardrails"
    return "\n".join([*lines, f"Extensions: {known}"])


def _devices(model: ModelInfo) -> str:
    """How the model is spread; a trace of an older version knows the hash only, which tells a change."""
    if model.devices:
        return model.devices
    return f"not told in words (hash {model.shard_hash[:12]})" if model.shard_hash else "not told"


def _quoted(name: str, text: str, most: int = 1000) -> str:
    plain = " ".join(text.split())
    return f"{name}: “{plain if len(plain) <= most else plain[:most] + '…'}”"


def _distances(found: Findings) -> str:
    turn = found.turn
    pair = turn.distances.question_context
    lines = [
        f"ΔS(question, snippets), embedder {turn.distances.embedder_id or 'none'}: "
        f"gated {_number(turn.distances.gated)}, first {_number(pair.top1)}, nearest {_number(pair.min)}, "
        f"mean {_number(pair.mean)}, cited {_number(pair.cited)}; zone "
        f"{turn.zone.value if turn.zone else 'none'}",
        f"ΔS(answer side): {_number(answer_side(turn))}",
        f"Coverage of the anchor: {_number(turn.coverage.coverage)}",
    ]
    for snippet, value in zip(turn.request.snippets, pair.each, strict=False):
        lines.append(f"- {snippet.snippet_id}: ΔS {_number(value)}")
    return "\n".join(lines)


def _support(turn: TurnReport) -> str:
    lines = [f"Verdict: {turn.verdict.gate.value}; support {_number(turn.support.support)}"]
    lines += [f"- {reason}" for reason in turn.verdict.reasons[:5]]
    return "\n".join(lines)


def _agreement(report: LambdaReport | None) -> str:
    if report is None:
        return "λ over 3 forms × 2 seeds: not measured yet"
    state = "no verdict" if isinstance(report.verdict, NotScored) else report.verdict.value
    return (
        f"λ over the forms and seeds: {state}; {report.convergent} of {report.n} runs agree, lower bound "
        f"{_number(report.low)}, semantic entropy {_number(report.entropy)}, citation overlap "
        f"{_number(report.iou)}" + ("; seeds degenerate" if report.seeds_degenerate else "")
    )


def _quantisation(modes: Sequence[ModeSummary] | None) -> str:
    if not modes:
        return "Effect of quantisation: not measured (no second mode was run)"
    lines = [f"- {mode.label}: {mode.gate.value}. {' '.join(mode.reasons)}" for mode in modes]
    return "\n".join(["Effect of quantisation, against the reference:", *lines])


def _cache(drift: DriftReport | None) -> str:
    if drift is None:
        return "Cache stability (tokens until drift): not measured yet"
    return "\n".join(["Cache stability (tokens until drift):", *(f"- {line}" for line in drift.sentences())])


def _seen(observations: Sequence[Observation]) -> str:
    seen = fired(observations)
    if not seen:
        return "Known symptoms: none was seen" if observations else "Known symptoms: not looked for"
    lines = [f"- {_called(one.symptom)}: {one.evidence}" for one in seen]
    return "\n".join(["Known symptoms; the first one is what to repair first:", *lines])


def _first(found: Findings) -> Symptom | None:
    """The fault furthest up, which is what to repair first."""
    seen = fired(found.observations)
    if seen:
        return seen[0].symptom
    gated = found.turn.distances.gated
    far = not isinstance(gated, NotScored) and gated >= found.distance_fail
    return CATALOGUE["RT3"] if far else None


def _named(symptom: Symptom | None, found: Findings) -> str:
    if symptom is None:
        return f"Fix page: none; ΔS is below {found.distance_fail:.2f} or unmeasured, and no detector fired"
    page = symptom.pages[0]
    return f"Fix page for {_called(symptom)}: {page.title} ({page.when}), {page.url}"


def _called(symptom: Symptom) -> str:
    return f"{symptom.id} {symptom.title}"


def _offers(found: Findings) -> tuple[str, ...]:
    """What is slow and was not measured, each with how to."""
    offers = []
    if found.lambda_report is None or found.lambda_report.gate is Gate.NOT_MEASURED:
        offers.append(
            "λ: six short answers; press “Measure λ now” in the Doctor tab, or run `diagnose` with `--model`."
        )
    if not found.modes:
        offers.append("Quantisation: needs a second model folder or cache type; run `compare`.")
    if found.drift is None:
        offers.append(
            "Cache stability: some thousand tokens; press “Measure drift” in the Model tab, or run `drift`."
        )
    return tuple(offers)
