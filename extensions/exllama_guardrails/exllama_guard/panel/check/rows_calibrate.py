"""Placing the limits of ΔS on somebody's gold set, as plain rows for the panel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from exllama_guard.core.measures import FloatArray
from exllama_guard.probes.measures import Verdict, calibrate, pairs_in

__all__ = ["CalibrationRows", "LimitRow", "calibration_rows"]

_ALIKE = 0.01  # balanced accuracies nearer than this are told as equal, as the command does


@dataclass(frozen=True, slots=True)
class LimitRow:
    """What one limit accepts, in percent."""

    name: str
    limit: str
    right: str
    wrong: str
    balanced: str


@dataclass(frozen=True, slots=True)
class CalibrationRows:
    """Both verdicts; `accept` and `reject` are the placed limits, of which `advice` speaks."""

    head: str
    limits: tuple[LimitRow, LimitRow]
    advice: str
    accept: float
    reject: float


@dataclass(frozen=True, slots=True)
class _InUse:
    """The embedder in use, asked through the monitor."""

    id: str
    embed: Callable[[Sequence[str]], FloatArray]


def calibration_rows(
    text: str, name: str, embedder_id: str, embed: Callable[[Sequence[str]], FloatArray], limit: float
) -> CalibrationRows:
    """The limits that a gold set places, beside the one in use; embeds every question and passage.

    Raises:
        UserError: The text is no gold set, or too small.
        EmbedderError: The embedder is missing or failed.
    """
    pairs = pairs_in(text, name)
    done = calibrate(pairs, _InUse(embedder_id, embed), seed=limit)
    gain = done.placed.balanced_accuracy - done.seed.balanced_accuracy
    share = f"{done.nearest_right:.0%}"
    return CalibrationRows(
        head=f"{name}: {done.pairs} questions; the right passage is the nearest for {share}.",
        limits=(_row("In use", done.seed), _row("Placed", done.placed)),
        advice="The limit in use does as well here; there is no need to change it."
        if gain < _ALIKE
        else f"ΔS passes up to {done.accept:.2f} and fails from {done.reject:.2f}.",
        accept=round(done.accept, 2),
        reject=round(done.reject, 2),
    )


def _row(name: str, verdict: Verdict) -> LimitRow:
    return LimitRow(
        name,
        f"{verdict.limit:.2f}",
        f"{verdict.anchors_accepted:.0%}",
        f"{verdict.decoys_accepted:.0%}",
        f"{verdict.balanced_accuracy:.2f}",
    )
