"""The loaded model as plain rows for the panel's model card; no markup, no gradio."""

from __future__ import annotations

from dataclasses import dataclass

from exllama_guard.core.backend import ModelCard
from exllama_guard.core.measures import Measure, NotScored
from exllama_guard.lifecycle import EX1_RATIO, FenceReport, FenceState, LifecycleSnapshot
from exllama_guard.panel.words import REASON_WORDS

__all__ = ["Bar", "ModelRow", "ModelRows", "model_rows"]

# state → tone, as the badges of a turn have them: pass, review, fail, none
_TONES = {
    FenceState.NONE: "none",
    FenceState.OFF: "none",
    FenceState.WARMING: "review",
    FenceState.WARM: "pass",
    FenceState.UNSETTLED: "review",
    FenceState.FAILED: "fail",
    FenceState.LATE: "fail",
}


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One line of the card: what it is, its value, and a sentence that explains it (may be empty)."""

    name: str
    value: str
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar with words: `share` of its length in [0, 1], or None for a bar that is off."""

    share: float | None
    text: str


@dataclass(frozen=True, slots=True)
class ModelRows:
    """The whole card, top to bottom."""

    title: str
    state: str  # one or two words
    tone: str  # pass, review, fail, none
    status: str  # one sentence: what requests do now
    facts: tuple[ModelRow, ...]
    speed: tuple[ModelRow, ...]
    cache_bar: Bar
    cache: tuple[ModelRow, ...]
    drift_bar: Bar | None  # while a measurement runs
    can: tuple[str, ...]  # what the loader allows, plain sentences
    warming: bool = False  # a warm-up runs now


def model_rows(snapshot: LifecycleSnapshot) -> ModelRows:
    """The card of the loaded model; with no model loaded, a card that says so."""
    return ModelRows(
        title=snapshot.name or "No model loaded",
        state=snapshot.state.value,
        tone=_TONES[snapshot.state],
        status=_status(snapshot),
        facts=_facts(snapshot.card),
        speed=_speed(snapshot),
        cache_bar=_cache_bar(snapshot),
        cache=_cache(snapshot),
        drift_bar=_drift_bar(snapshot),
        can=snapshot.capabilities.sentences() if snapshot.capabilities else (),
        warming=snapshot.state is FenceState.WARMING,
    )


def _status(snapshot: LifecycleSnapshot) -> str:
    if snapshot.state is FenceState.WARMING:
        waiting = snapshot.requests_waiting
        who = "No request is waiting." if not waiting else f"{waiting} waiting, answered when it is warm."
        return f"The model is being warmed up. {who}"
    if snapshot.report is not None:
        return snapshot.report.sentence()
    if snapshot.state is FenceState.NONE:
        return "Load a model on the Model page; pasted answers can be checked without one."
    return "The first answer after a load may be slower, because warm-up is off."


def _facts(card: ModelCard | None) -> tuple[ModelRow, ...]:
    if card is None:
        return ()
    gpus = [device for device in card.shards.devices if device != "cpu"]
    return (
        ModelRow("Loader", card.loader),
        ModelRow("Weights", card.quantisation.label),
        ModelRow("Cache type", card.cache_type or "not told by the loader"),
        ModelRow("Devices", card.shards.in_words(), ", ".join(gpus)),
        ModelRow("Context", f"{card.context_tokens} tokens" if card.context_tokens else "not told"),
        ModelRow("LoRAs", ", ".join(card.loras) or "none"),
        ModelRow("Chat template", {True: "yes", False: "none", None: "not told"}[card.chat_template]),
        ModelRow(
            "Model hash", _short(card.model_hash), "Configuration, tokenizer and the start of each shard."
        ),
        ModelRow("Shard hash", _short(card.shard_hash), "Devices in order, split and tensor parallelism."),
    )


def _speed(snapshot: LifecycleSnapshot) -> tuple[ModelRow, ...]:
    report = snapshot.report
    if report is None:
        return ()
    rows = [
        ModelRow("First token, cold", _timed(report.cold_ttft_s)),
        ModelRow("First token, warm", _timed(report.warm_ttft_s)),
        ModelRow("Tokens a second", _shown(report.tokens_per_s, "{:.1f}")),
        ModelRow("First run", _first_run(report), f"Above {EX1_RATIO:g} × the first run was cold."),
    ]
    if snapshot.last_wait_s is not None:
        rows.append(ModelRow("Last request waited", _timed(snapshot.last_wait_s)))
    if snapshot.canary is not None:
        unknown = "not compared" if snapshot.canary.note else "first of this model"
        word = {None: unknown, True: "same as before", False: "changed"}[snapshot.canary.same]
        rows.append(ModelRow("Canary", word, snapshot.canary.sentence()))
    return tuple(rows)


def _first_run(report: FenceReport) -> str:
    text = _shown(report.first_run_ratio, "{:.1f} × the later ones")
    return f"{text}, and it wrote something else" if report.first_run_differs else text


def _cache_bar(snapshot: LifecycleSnapshot) -> Bar:
    tokens, limit = snapshot.cache.tokens_since_reset, snapshot.rotation_tokens
    can = snapshot.capabilities
    if can is None:
        return Bar(None, "no model loaded")
    if not can.cache_reset:
        return Bar(None, f"{tokens} tokens; this loader's cache is not rotated")
    if not snapshot.rotation_on or limit < 1:
        return Bar(None, f"{tokens} tokens since the last reset; rotation is off")
    return Bar(min(1.0, tokens / limit), f"{tokens} of {limit} tokens until the next reset")


def _cache(snapshot: LifecycleSnapshot) -> tuple[ModelRow, ...]:
    rows = []
    last, drift = snapshot.cache.last_rotation, snapshot.cache.drift
    if last is not None:
        rows.append(ModelRow("Last rotation", last.decision.action.value, last.sentence()))
    if drift is not None:
        for name, sentence in zip(("Numeric drift", "Context drift"), drift.sentences(), strict=False):
            rows.append(ModelRow(name, sentence.partition(": ")[2].rstrip(".")))
        rows.append(ModelRow("What a reset cures", drift.sentences()[2]))
    return tuple(rows)


def _drift_bar(snapshot: LifecycleSnapshot) -> Bar | None:
    share = snapshot.cache.drift_progress
    return None if share is None else Bar(share, snapshot.cache.drift_text)


def _timed(value: Measure) -> str:
    return _shown(value, "{:.3f} s")


def _shown(value: Measure, form: str) -> str:
    if isinstance(value, NotScored):
        return REASON_WORDS.get(value.reason, value.reason.value)
    return form.format(value)


def _short(value: str | NotScored) -> str:
    return value[:12] if isinstance(value, str) else str(value)
