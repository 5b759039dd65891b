"""What to do with an answer because of its verdict, and the texts that this takes."""

from __future__ import annotations

from exllama_guard.acting.decision import Attempt, Decision, Way, choose, decide, repair_snippets
from exllama_guard.acting.texts import annotation, refusal, repair_message, second_try, without_annotation
from exllama_guard.acting.turn_summary import summary_of

__all__ = [
    "Attempt",
    "Decision",
    "Way",
    "annotation",
    "choose",
    "decide",
    "refusal",
    "repair_message",
    "repair_snippets",
    "second_try",
    "summary_of",
    "without_annotation",
]
