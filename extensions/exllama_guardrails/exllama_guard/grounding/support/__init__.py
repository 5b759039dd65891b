"""Support: does each claim of an answer rest on the snippets, and if not, why."""

from exllama_guard.grounding.support.scorer import AnswerScorer

__all__ = ["AnswerScorer"]
