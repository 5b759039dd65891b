"""What to do with an answer because of its verdict, and the texts that this takes."""

from __future__ import annotations

from exllama_guard.acting.decision import (
    Attempt,
    Decision,
    Way,
    choose,
    decide,
    decide_unchecked,
    repair_snippets,
)
from exllama_guard.acting.texts import (
    AWAITED,
    annotation,
    refusal,
    repair_message,
    second_try,
    unchecked_line,
    unchecked_refusal,
    without_annotation,
)
from exllama_guard.acting.turn_summary import summary_of, unchecked_summary

__all__ = [
    "AWAITED",
    "Attempt",
    "Decision",
    "Way",
    "annotation",
    "choose",
    "decide",
    "decide_unchecked",
    "refusal",
    "repair_message",
    "repair_snippets",
    "second_try",
    "summary_of",
    "unchecked_line",
    "unchecked_refusal",
    "unchecked_summary",
    "without_annotation",
]
