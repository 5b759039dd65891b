"""What the loaded model showed while people used it, and the symptoms that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exllama_guard.core.measures import Gate, Measure, NotScored, Reason
from exllama_guard.probes.doctor.detectors.model import first_run, shards, tool_schema
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved
from exllama_guard.probes.measures.logit_drift import LogitDrift
from exllama_guard.tools import CallRecord, prose_beside

__all__ = ["Fence", "ModelSigns", "ToolCounts", "observe_signs", "tool_counts"]

# Codes of tools/strict_json.py: the arguments were not one strict JSON value.
_NOT_JSON = frozenset(
    [
        "bad_json",
        "bad_text",
        "duplicate_key",
        "empty",
        "mixed_prose",
        "not_a_number",
        "number_too_large",
        "too_deep",
        "too_long",
        "truncated",
    ]
)


@dataclass(frozen=True, slots=True)
class Fence:
    """How a warm-up ended. `kept`: no request was answered before the model was warm; None: not known."""

    state: str
    kept: bool | None = None
    ratio: Measure = NotScored(Reason.NO_MODEL)  # noqa: RUF009 - a frozen value
    same_text: bool | None = None  # run 1 wrote the warm text
    slowest_s: float | None = None  # longest run


@dataclass(frozen=True, slots=True)
class ToolCounts:
    """Calls seen: how many there were, were strict JSON, fitted their schema, stood among prose."""

    calls: int = 0
    parsed: int = 0
    valid: int = 0
    with_prose: int = 0


@dataclass(frozen=True, slots=True)
class ModelSigns:
    """Everything that is known of the loaded model without asking it anything; None: not known."""

    fence: Fence | None = None
    finite: bool | None = None  # no NaN or Inf was seen since the load
    warm_is_cold: bool | None = None  # of the last drift measurement
    shards_before: str | None = None
    shards_now: str = ""
    canary: str = ""  # the sentence of a canary that differs from that of the load before
    baseline: LogitDrift | None = None  # fixed tokens now against those kept from the first load
    floor: float = 0.0
    tools: ToolCounts = ToolCounts()
    loader: str = ""
    logprobs: bool | None = None  # whether the loader gives those of the next token
    second_reader: bool = False  # whether somebody wants the model to be asked as a second reader


def tool_counts(records: Sequence[CallRecord], replies: Sequence[str] = ()) -> ToolCounts:
    """The counts over recorded calls; `replies` are looked through for calls that stand among prose."""
    return ToolCounts(
        calls=len(records),
        parsed=sum(_NOT_JSON.isdisjoint(record.codes) for record in records),
        valid=sum(record.valid for record in records),
        with_prose=sum(prose_beside(reply) is True for reply in replies),
    )


def observe_signs(signs: ModelSigns) -> tuple[Observation, ...]:
    """EX1, EX4, EX5, T5, SR1 of the loaded model; EX3 needs turns, too (probes/doctor/checkup.py)."""
    fence, tools = signs.fence, signs.tools
    if fence is None:
        no = "no model is loaded"
        return (*(unobserved(id_, no) for id_ in ("EX1", "EX5", "T5", "SR1")), _tools(tools))
    first = first_run(fence.ratio, fence.same_text)
    return first, _tools(tools), _shards(signs, fence), _early(fence), _log_probabilities(signs)


def _tools(tools: ToolCounts) -> Observation:
    return tool_schema(tools.calls, tools.parsed, tools.valid, tools.with_prose)


def _shards(signs: ModelSigns, fence: Fence) -> Observation:
    if not signs.shards_now:
        return unobserved("EX5", "the model's files and devices were not read yet")
    found = shards(signs.shards_before, signs.shards_now, signs.baseline, signs.floor, fence.slowest_s)
    if signs.canary and found.verdict in (Gate.PASS, Gate.NOT_MEASURED):
        return observed("EX5", Gate.REVIEW, signs.canary, now=signs.shards_now)
    return found


def _log_probabilities(signs: ModelSigns) -> Observation:
    loader = signs.loader or "this loader"
    if signs.logprobs is None:
        return unobserved("SR1", "the loader was not looked at yet")
    if signs.logprobs:
        return observed("SR1", Gate.PASS, f"{loader} gives log-probabilities of the next token.")
    if not signs.second_reader:
        return unobserved("SR1", f"{loader} gives no log-probabilities, and second_reader is off")
    return observed(
        "SR1",
        Gate.REVIEW,
        f"{loader} gives no log-probabilities, so the setting second_reader does nothing: load the model "
        "with another loader, or switch it off.",
    )


def _early(fence: Fence) -> Observation:
    if fence.kept is None:
        return unobserved("T5", fence.state)
    if fence.kept:
        return observed("T5", Gate.PASS, f"No reply was started before the model was ready ({fence.state}).")
    sentence = (
        f"Replies could start before the model was ready: {fence.state}. Raise warmup_limit_s or reload."
    )
    return observed("T5", Gate.REVIEW, sentence)
