"""The loaded model as a second reader, as plain rows for the Model tab; no markup, no gradio."""

from __future__ import annotations

from dataclasses import dataclass

from exllama_guard.panel.model.rows import Bar, ModelRow
from exllama_guard.second_reader import Figure, Progress, ReaderReport, ReaderView

__all__ = ["ReaderRows", "reader_rows"]


@dataclass(frozen=True, slots=True)
class ReaderRows:
    """`bar` while it is measured; `sentence` says what is known, `status` whether it is asked."""

    bar: Bar | None
    sentence: str
    status: str
    problem: str
    figures: tuple[ModelRow, ...]


def reader_rows(view: ReaderView) -> ReaderRows:
    """What is known of the model as a reader."""
    known = view.known
    return ReaderRows(
        bar=None if view.progress is None else _bar(view.progress),
        sentence="It was not measured as a reader yet, so it is not asked."
        if known is None
        else known.sentence(),
        status=_status(view),
        problem=view.problem,
        figures=() if known is None else _figures(known),
    )


def _status(view: ReaderView) -> str:
    if view.known is None or not view.known.is_of_use:
        return ""
    if view.setting == "off":
        return "The setting second_reader is off, so it is not asked in chats; the Settings tab has it."
    return "It is asked while it is idle." if view.asks else "It is not asked at present."


def _bar(progress: Progress) -> Bar:
    text = f"{progress.done} of {progress.total} statements"
    if progress.left_s is not None:
        text += f", about {max(1, round(progress.left_s / 60))} min left"
    return Bar(progress.done / max(1, progress.total), text)


def _figures(known: ReaderReport) -> tuple[ModelRow, ...]:
    contrast = "not told by this loader" if known.contrast is None else _figure(known.contrast)
    gain = f"{known.gain:+.2f} ({known.gain_low:+.2f} to {known.gain_high:+.2f})"
    return (
        ModelRow("What is checked already, alone", _figure(known.support)),
        ModelRow("Its yes or no, alone", _figure(known.judge)),
        ModelRow("What the text adds to its words, alone", contrast),
        ModelRow("All joined", _figure(known.joined)),
        ModelRow("Gain", gain, "Of all joined over what is checked already; it counts where it is above 0."),
        ModelRow("Measured on", f"{known.statements} statements, {known.took_s:.0f} s"),
    )


def _figure(figure: Figure) -> str:
    return f"{figure.in_words()} of 1"
