"""Relevance: whether an answer speaks of what was asked, so that one that is true but beside it is seen.

Two measures: ΔS(question, answer), and the share of the question's telling words that the answer takes up.
A logistic model joins them; its weights and its one limit are fitted by tests/bench/fit_relevance.py and
stored with their provenance in data/relevance.json.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from exllama_guard.core.finite import read_fitted
from exllama_guard.core.measures import Gate, Measure, NotScored, Reason
from exllama_guard.core.turns import Relevance

WEIGHTS_FILE = Path(__file__).parent / "data" / "relevance.json"
# A shorter answer ("8192.", "In 1887.") takes up no word of the question and is no less an answer.
SHORTEST_ANSWER_WORDS = 6
# "And the second?" rests on the turn before; "Summarise this file." and "What does the text say?" ask for
# what the file says, in none of the question's words. Neither can be compared with its answer.
_FEWEST_TELLING_WORDS = 2
_ASKS = re.compile(
    r"\?|\b(?:who|whom|whose|what|when|where|which|why|how|is|are|was|were|do|does|did|can|could|may|must"
    r"|should|will|would|has|have|had)\b",
    re.IGNORECASE,
)
_OF_THE_TEXT = re.compile(
    r"\b(?:this|that|the|these|those|my|your|attached)\s+(?:\w+\s+)?"
    r"(?:documents?|texts?|files?|passages?|snippets?|articles?|pages?|attachments?|pdfs?|stor(?:y|ies))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class RelevanceWeights:
    """The fitted model: log-odds = bias + near * (1 - ΔS) + shared * overlap; REVIEW below `limit`."""

    bias: float
    near: float
    shared: float
    limit: float


@lru_cache(maxsize=1)
def load_relevance_weights() -> RelevanceWeights:
    """The weights that the extension ships.

    Raises:
        ScoringError: Their file is damaged.
    """
    return read_fitted(
        WEIGHTS_FILE, lambda raw: RelevanceWeights(raw["bias"], raw["near"], raw["shared"], raw["limit"])
    )


def shared_words(question: str, answer: str) -> Measure:
    """Share [0, 1] of the question's telling words, by weight, that the answer has in any form."""
    from exllama_guard.grounding.support.text import words_of

    asked = {word.stem: word.weight for word in words_of(question) if word.is_content}
    if len(asked) < _FEWEST_TELLING_WORDS:
        return NotScored(Reason.NO_QUESTION, "the question has too few telling words")
    if not _ASKS.search(question) or _OF_THE_TEXT.search(question):
        return NotScored(Reason.NO_QUESTION, "a task, or a question about a text as a whole")
    total = sum(asked.values())
    said = {word.stem for word in words_of(answer)}
    return sum(weight for stem, weight in asked.items() if stem in said) / total


def measure_relevance(question: str, answer: str, distance: Measure, limit: float | None = None) -> Relevance:
    """Probability [0, 1] that `answer` speaks of what `question` asks, and PASS, REVIEW or NOT_MEASURED.

    Args:
        question: The user's question.
        answer: The answer as text.
        distance: ΔS(question, answer).
        limit: REVIEW below this probability; None: the fitted one.
    """
    overlap = shared_words(question, answer)
    why_not = next((value for value in (distance, overlap) if isinstance(value, NotScored)), None)
    if why_not is None and len(answer.split()) < SHORTEST_ANSWER_WORDS:
        why_not = NotScored(Reason.NOT_ENOUGH_DATA, "the answer is too short to compare with the question")
    if isinstance(distance, NotScored) or isinstance(overlap, NotScored) or why_not is not None:
        return Relevance(why_not or NotScored(Reason.FAILED), Gate.NOT_MEASURED, distance, overlap)
    weights = load_relevance_weights()
    logit = weights.bias + weights.near * (1.0 - distance) + weights.shared * overlap
    value = 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, logit))))
    gate = Gate.PASS if value >= (weights.limit if limit is None else limit) else Gate.REVIEW
    return Relevance(value, gate, distance, overlap)
