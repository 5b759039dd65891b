"""Support: does each claim of an answer rest on the snippets, and if not, why."""

from __future__ import annotations

from exllama_guard.grounding.support.claims import pieces_of
from exllama_guard.grounding.support.dates import dates_of
from exllama_guard.grounding.support.features import NEGATIONS
from exllama_guard.grounding.support.model import load_weights
from exllama_guard.grounding.support.quantities import quantities_of
from exllama_guard.grounding.support.scorer import AnswerScorer
from exllama_guard.grounding.support.text import words_of

__all__ = ["AnswerScorer", "NEGATIONS", "dates_of", "load_weights", "pieces_of", "quantities_of", "words_of"]
